"""Q5_K, 256 elements in 176 bytes: as Q4_K, with 32 bytes of fifth bits before the nibbles.

Bit k of fifth-bit byte l belongs to element l of sub-block k. x = d * sc * q - dmin * mn.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import SuperFormat
from ggmlrpc_cpu.kernels.blocks.q4_k import NIBBLES, minimums, scales
from ggmlrpc_cpu.kernels.blocks.vectors import load_twice_32, make_shift


def _codes(i: int) -> Any:
    start = 48 + 32 * i
    fifth = make_shift([2 * i - 4] * 4 + [2 * i + 1 - 4] * 4)  # bits 2 i and 2 i + 1 to bit 4

    @inline
    def codes(p: Any) -> Any:
        return (NIBBLES(load_twice_32(p + start)) & 15) | (fifth(load_twice_32(p + 16)) & 16)

    return codes


FORMAT = SuperFormat(
    type_size=176,
    codes=tuple(_codes(i) for i in range(4)),  # type: ignore[arg-type]
    scales=scales,
    minimums=minimums,
)
