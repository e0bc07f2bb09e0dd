"""How the blocks of each quantized type look to compiled code: one module per type, `find` to get one.

A format gives unsigned codes, 64 at a time and in the order of the elements, and the numbers that turn codes into
values. The kernels that multiply and dequantize are written once over these (mul_mat_dot.py, dequantize.py).
"""

from ggmlrpc_cpu.kernels.blocks.format import PairFormat, SuperFormat, find

__all__ = ["PairFormat", "SuperFormat", "find"]
