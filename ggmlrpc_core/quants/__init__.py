"""Block formats: dequantize and quantize every ggml type, for any array namespace."""

from ggmlrpc_core.quants.convert import dequantize, from_f32, quantize, to_f32

__all__ = ["dequantize", "from_f32", "quantize", "to_f32"]
