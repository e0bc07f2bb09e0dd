"""Q4_1, 32 elements in 20 bytes: f16 d, f16 m, 16 bytes of nibbles as in Q4_0. x = d * q + m."""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import PairFormat
from ggmlrpc_cpu.kernels.blocks.q4_0 import NIBBLES
from ggmlrpc_cpu.kernels.blocks.vectors import gather_f16, load_twice_16


@inline
def codes(p: Any, q: Any) -> Any:
    return NIBBLES(load_twice_16(p + 4, q + 4)) & 15


@inline
def minimums(p0: Any, p1: Any, p2: Any, p3: Any, step: Any) -> Any:
    return gather_f16(p0 + 2, p1 + 2, p2 + 2, p3 + 2, step)


FORMAT = PairFormat(type_size=20, codes=codes, scales=gather_f16, minimums=minimums)
