"""IQ4_XS, 256 elements in 136 bytes: f16 d, 16 bits of upper scale pairs, 4 bytes of scale nibbles, 128 of nibbles.

Sub-blocks of 32, each 16 bytes of nibbles as in IQ4_NL. x = d * (sc - 32) * values[q].
"""

from __future__ import annotations

from typing import Any

from numba import int32

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import SuperFormat
from ggmlrpc_cpu.kernels.blocks.iq4_nl import lookup
from ggmlrpc_cpu.kernels.blocks.q4_0 import NIBBLES
from ggmlrpc_cpu.kernels.blocks.vectors import load_twice_16, make_constant
from ggmlrpc_cpu.simd import load_f16, load_i32, load_u16, to_f32x8
from ggmlrpc_cpu.simd.types import I32x8, make_splat

splat = make_splat(I32x8)
low_shift = make_constant(I32x8, [4 * i for i in range(8)])
high_shift = make_constant(I32x8, [2 * i for i in range(8)])


@inline
def scales(p: Any) -> Any:
    low = (splat(load_i32(p + 4)) >> low_shift()) & 15
    high = (splat(int32(load_u16(p + 2))) >> high_shift()) & 3
    return to_f32x8((low | (high << 4)) - 32) * load_f16(p)


def _codes(i: int) -> Any:
    start = 8 + 32 * i

    @inline
    def codes(p: Any) -> Any:
        return lookup(NIBBLES(load_twice_16(p + start, p + start + 16)) & 15)

    return codes


FORMAT = SuperFormat(
    type_size=136,
    codes=tuple(_codes(i) for i in range(4)),  # type: ignore[arg-type]
    scales=scales,
    offset=128,
    wide=True,
)
