"""Q2_K, 256 elements in 84 bytes: 16 bytes of scales (low nibble) and minimums (high), 64 of bit pairs, f16 d, dmin.

Sub-blocks of 16. Each half of 128 elements has 32 bytes; bit pair k belongs to elements 32 k .. 32 k + 31.
x = d * sc * q - dmin * mn.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import SuperFormat
from ggmlrpc_cpu.kernels.blocks.vectors import load_twice_32, make_shift
from ggmlrpc_cpu.simd import load_f16, load_u8x16, to_f32x16


@inline
def scales(p: Any) -> Any:
    return to_f32x16(load_u8x16(p) & 15) * load_f16(p + 80)


@inline
def minimums(p: Any) -> Any:
    return to_f32x16(load_u8x16(p) >> 4) * load_f16(p + 82)


def _codes(i: int) -> Any:
    half, group = divmod(i, 2)
    start = 16 + 32 * half
    pairs = make_shift([4 * group] * 4 + [4 * group + 2] * 4)

    @inline
    def codes(p: Any) -> Any:
        return pairs(load_twice_32(p + start)) & 3

    return codes


FORMAT = SuperFormat(
    type_size=84,
    codes=tuple(_codes(i) for i in range(4)),  # type: ignore[arg-type]
    scales=scales,
    minimums=minimums,
    sub=16,
)
