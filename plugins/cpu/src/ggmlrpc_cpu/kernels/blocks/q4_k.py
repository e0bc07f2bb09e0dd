"""Q4_K, 256 elements in 144 bytes: f16 d, f16 dmin, 12 bytes of six-bit scales and minimums, 128 of nibbles.

Sub-blocks of 32. Nibbles of 32 bytes: sub-block 2 i low, 2 i + 1 high. x = d * sc * q - dmin * mn.
Scales: words w0, w1, w2 of four bytes. sc[0..3] and mn[0..3] are the low six bits of w0 and w1; sc[4..7] and
mn[4..7] take four bits of w2 (low, high nibble) and the upper two of w0 and w1.
"""

from __future__ import annotations

from typing import Any

from numba import int64

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import SuperFormat
from ggmlrpc_cpu.kernels.blocks.vectors import bytes_to_f32x8, load_twice_32, make_shift
from ggmlrpc_cpu.simd import load_f16, load_u32

SIX, FOUR, TWO = 0x3F3F3F3F, 0x0F0F0F0F, 0x30303030
NIBBLES = make_shift((0, 0, 0, 0, 4, 4, 4, 4))
"""32 bytes twice: low nibbles of the first copy, high nibbles of the second (to be masked)."""


@inline
def scales(p: Any) -> Any:
    w0, w2 = int64(load_u32(p + 4)), int64(load_u32(p + 12))
    word = (w0 & SIX) | (((w2 & FOUR) | ((w0 >> 2) & TWO)) << 32)
    return bytes_to_f32x8(word) * load_f16(p)


@inline
def minimums(p: Any) -> Any:
    w1, w2 = int64(load_u32(p + 8)), int64(load_u32(p + 12))
    word = (w1 & SIX) | ((((w2 >> 4) & FOUR) | ((w1 >> 2) & TWO)) << 32)
    return bytes_to_f32x8(word) * load_f16(p + 2)


def _codes(i: int) -> Any:
    start = 16 + 32 * i

    @inline
    def codes(p: Any) -> Any:
        return NIBBLES(load_twice_32(p + start)) & 15

    return codes


FORMAT = SuperFormat(
    type_size=144,
    codes=tuple(_codes(i) for i in range(4)),  # type: ignore[arg-type]
    scales=scales,
    minimums=minimums,
)
