"""Q5_0, 32 elements in 22 bytes: f16 d, 32 fifth bits, 16 bytes of nibbles as in Q4_0. x = d * (q - 16)."""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import PairFormat
from ggmlrpc_cpu.kernels.blocks.q4_0 import NIBBLES
from ggmlrpc_cpu.kernels.blocks.vectors import gather_f16, load_twice_16, spread_bits
from ggmlrpc_cpu.simd import load_i32


@inline
def codes(p: Any, q: Any) -> Any:
    high = spread_bits(load_i32(p + 2), load_i32(q + 2))
    return (NIBBLES(load_twice_16(p + 6, q + 6)) & 15) | (high << 4)


FORMAT = PairFormat(type_size=22, codes=codes, scales=gather_f16, offset=16)
