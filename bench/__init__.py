"""Benchmarks: ratios against the standard library's own ``wsgiref``, in one run."""
