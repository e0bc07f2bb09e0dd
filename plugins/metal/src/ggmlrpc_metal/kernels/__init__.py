"""Metal kernels that read ggml blocks where they lie; build.py has what is called."""

from ggmlrpc_metal.kernels.build import all_formats, dequantize, mul_mat, mul_mat_id

__all__ = ["all_formats", "dequantize", "mul_mat", "mul_mat_id"]
