"""Q6_K, 256 elements in 210 bytes: 128 of low nibbles, 64 of upper bit pairs, 16 signed scales, f16 d.

Sub-blocks of 16. Each half of 128 elements: 64 nibble bytes hold elements 0..63 low and 64..127 high; bit pair k of
32 bytes belongs to elements 32 k .. 32 k + 31. x = d * sc * (q - 32).
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import SuperFormat
from ggmlrpc_cpu.kernels.blocks.vectors import load_twice_32, make_shift
from ggmlrpc_cpu.simd import load_f16, load_i8x16, load_u8x64, to_f32x16


@inline
def scales(p: Any) -> Any:
    return to_f32x16(load_i8x16(p + 192)) * load_f16(p + 208)


def _codes(i: int) -> Any:
    half, group = divmod(i, 2)
    low, high = 64 * half, 128 + 32 * half
    nibbles = make_shift([4 * group] * 8)
    pairs = make_shift([4 * group - 4] * 4 + [4 * group + 2 - 4] * 4)  # to bits 4 and 5

    @inline
    def codes(p: Any) -> Any:
        return (nibbles(load_u8x64(p + low)) & 15) | (pairs(load_twice_32(p + high)) & 48)

    return codes


FORMAT = SuperFormat(
    type_size=210,
    codes=tuple(_codes(i) for i in range(4)),  # type: ignore[arg-type]
    scales=scales,
    sub=16,
    offset=32,
)
