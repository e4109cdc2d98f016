"""The reference kernels: complete and correct without a compiler."""
