"""MXFP4, 32 elements in 17 bytes: E8M0 exponent e, 16 bytes of E2M1 nibbles as in Q4_0.

x = 2 ** (e - 128) * (twice the E2M1 value), so that the values are whole numbers.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.format import PairFormat
from ggmlrpc_cpu.kernels.blocks.q4_0 import NIBBLES
from ggmlrpc_cpu.kernels.blocks.vectors import gather_e8m0_half, load_twice_16, make_lookup

VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
OFFSET = 12
lookup = make_lookup([v + OFFSET for v in VALUES])


@inline
def codes(p: Any, q: Any) -> Any:
    return lookup(NIBBLES(load_twice_16(p + 1, q + 1)) & 15)


FORMAT = PairFormat(type_size=17, codes=codes, scales=gather_e8m0_half, offset=OFFSET)
