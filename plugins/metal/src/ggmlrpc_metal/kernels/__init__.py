"""Our Metal kernels: weights read where they lie, and recurrences; build.py has what is called."""

from ggmlrpc_metal.kernels.build import all_formats, dequantize, mul_mat, mul_mat_id, scan

__all__ = ["all_formats", "dequantize", "mul_mat", "mul_mat_id", "scan"]
