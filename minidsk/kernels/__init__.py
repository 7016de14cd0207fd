"""Triton kernels, each beside its PyTorch reference; where Triton cannot run, the reference does the work."""
