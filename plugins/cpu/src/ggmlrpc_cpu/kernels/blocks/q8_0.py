"""Q8_0, 32 elements in 34 bytes: f16 d, 32 signed bytes. x = d * q."""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import PairFormat
from ggmlrpc_cpu.kernels.blocks.vectors import gather_f16, load_two_32


@inline
def codes(p: Any, q: Any) -> Any:
    return load_two_32(p + 2, q + 2) ^ 128


FORMAT = PairFormat(type_size=34, codes=codes, scales=gather_f16, offset=128, wide=True)
