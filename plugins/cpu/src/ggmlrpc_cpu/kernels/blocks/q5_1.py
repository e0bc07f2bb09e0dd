"""Q5_1, 32 elements in 24 bytes: f16 d, f16 m, 32 fifth bits, 16 bytes of nibbles as in Q4_0. x = d * q + m."""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import PairFormat
from ggmlrpc_cpu.kernels.blocks.q4_0 import NIBBLES
from ggmlrpc_cpu.kernels.blocks.q4_1 import minimums
from ggmlrpc_cpu.kernels.blocks.vectors import gather_f16, load_twice_16, spread_bits
from ggmlrpc_cpu.simd import load_i32


@inline
def codes(p: Any, q: Any) -> Any:
    high = spread_bits(load_i32(p + 4), load_i32(q + 4))
    return (NIBBLES(load_twice_16(p + 8, q + 8)) & 15) | (high << 4)


FORMAT = PairFormat(type_size=24, codes=codes, scales=gather_f16, minimums=minimums)
