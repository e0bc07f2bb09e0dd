"""Q3_K, 256 elements in 110 bytes: 32 of third bits, 64 of bit pairs, 12 of six-bit scales, f16 d.

Sub-blocks of 16. Bit pairs as in Q2_K; bit k of third-bit byte l belongs to element 32 k + l. Scale i has its low four
bits in byte i % 8 (low nibble for i < 8) and the upper two in byte 8 + i % 4, pair i // 4. x = d * (sc - 32) * (q - 4).
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import SuperFormat
from ggmlrpc_cpu.kernels.blocks.vectors import (
    load_twice_32,
    make_constant,
    make_shift,
    make_shuffle,
)
from ggmlrpc_cpu.simd import load_f16, load_u8x16, to_f32x16
from ggmlrpc_cpu.simd.types import U8x16

# The 16 bytes that end with the block: two that are not wanted, the 12 of the scales, d.
SCALES = 94
low_bytes = make_shuffle(U8x16, [2 + i % 8 for i in range(16)])
high_bytes = make_shuffle(U8x16, [10 + i % 4 for i in range(16)])
low_shift = make_constant(U8x16, [4 * (i // 8) for i in range(16)])
high_shift = make_constant(U8x16, [2 * (i // 4) for i in range(16)])


@inline
def scales(p: Any) -> Any:
    x = load_u8x16(p + SCALES)
    six = ((low_bytes(x) >> low_shift()) & 15) | (((high_bytes(x) >> high_shift()) & 3) << 4)
    return (to_f32x16(six) - 32) * load_f16(p + 108)


def _codes(i: int) -> Any:
    half, group = divmod(i, 2)
    start = 32 + 32 * half
    bit = 4 * half + 2 * group
    pairs = make_shift([4 * group] * 4 + [4 * group + 2] * 4)
    third = make_shift([bit - 2] * 4 + [bit + 1 - 2] * 4)  # to bit 2

    @inline
    def codes(p: Any) -> Any:
        return (pairs(load_twice_32(p + start)) & 3) | (third(load_twice_32(p)) & 4)

    return codes


FORMAT = SuperFormat(
    type_size=110,
    codes=tuple(_codes(i) for i in range(4)),  # type: ignore[arg-type]
    scales=scales,
    sub=16,
    offset=4,
)
