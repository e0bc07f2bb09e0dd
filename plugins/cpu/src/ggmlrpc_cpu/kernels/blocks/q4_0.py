"""Q4_0, 32 elements in 18 bytes: f16 d, 16 bytes of nibbles (element i low, i + 16 high). x = d * (q - 8)."""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import PairFormat
from ggmlrpc_cpu.kernels.blocks.vectors import gather_f16, load_twice_16, make_shift

NIBBLES = make_shift((0, 0, 4, 4, 0, 0, 4, 4))
"""16 bytes twice, twice: low nibbles of the first copy, high nibbles of the second (to be masked)."""


@inline
def codes(p: Any, q: Any) -> Any:
    return NIBBLES(load_twice_16(p + 2, q + 2)) & 15


FORMAT = PairFormat(type_size=18, codes=codes, scales=gather_f16, offset=8)
