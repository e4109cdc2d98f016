"""The compiled kernels, where they were built; their sources are in ``src/_speedups``."""
