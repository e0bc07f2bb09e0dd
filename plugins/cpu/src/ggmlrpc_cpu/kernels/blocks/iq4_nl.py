"""IQ4_NL, 32 elements in 18 bytes: as Q4_0, but a nibble picks one of 16 uneven values. x = d * values[q]."""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import PairFormat
from ggmlrpc_cpu.kernels.blocks.q4_0 import NIBBLES
from ggmlrpc_cpu.kernels.blocks.vectors import gather_f16, load_twice_16, make_lookup

VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
lookup = make_lookup([v + 128 for v in VALUES])
"""Nibbles to values plus 128."""


@inline
def codes(p: Any, q: Any) -> Any:
    return lookup(NIBBLES(load_twice_16(p + 2, q + 2)) & 15)


FORMAT = PairFormat(type_size=18, codes=codes, scales=gather_f16, offset=128, wide=True)
