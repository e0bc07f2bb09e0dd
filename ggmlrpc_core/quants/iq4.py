"""IQ4_NL and IQ4_XS: 4-bit indices into 16 values that are denser near zero.

IQ4_NL, 32 elements, 18 bytes: float16 d; u8[16]: byte j holds element j low and j + 16 high. y = d * value[q].
IQ4_XS, 256 elements, 136 bytes: float16 d; u16 scales_h; u8[4] scales_l; u8[128]: each run of 16 bytes as IQ4_NL. Run i
    has a scale of 6 bits: the low four in half i % 2 of scales_l[i // 2], the upper two at bit 2 i of scales_h.
    y = d * (s - 32) * value[q].

Source: ggml-quants.c dequantize_row_iq4_*, quantize_row_iq4_nl_impl; ggml-common.h block_iq4_*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ggmlrpc_core.quants.bits import (
    Array,
    byte_table,
    clamp,
    contiguous,
    extreme,
    field,
    half,
    inverse,
    join,
    nearest_int,
    nibbles,
    pack,
    scaled,
)
from ggmlrpc_core.quants.grids import kvalue_pairs, kvalues, nearest_kvalue
from ggmlrpc_core.quants.search import nearest_values


def dequantize_iq4_nl(xp: Any, blocks: Array) -> Array:
    """[n, 18] to float32 [n, 32]."""
    return half(xp, blocks, 0) * _values(xp, blocks[:, 2:], 1).astype(xp.float32)


def quantize_iq4_nl(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 18]; a block of zeros has zero bytes (the stock code leaves its quants unset)."""
    scale, q = nearest_values(xp, x.T, kvalues("IQ4_NL"), tries=0, index=_index(xp))
    q = xp.where(scale != 0, q, 0).T
    return join(xp, [scale[:, None].astype(xp.float16), pack(xp, q, groups=1, bits=4)])


def dequantize_iq4_xs(xp: Any, blocks: Array) -> Array:
    """[n, 136] to float32 [n, 256]."""
    high = field(xp, blocks, 2, 4, xp.uint16).astype(xp.int32)
    high = xp.concatenate([(high >> (2 * i)) & 3 for i in range(8)], axis=1)
    low = nibbles(xp, blocks[:, 4:8, None]).astype(xp.int32)
    scales = ((low | (high << 4)) - 32).astype(xp.float32)
    return scaled(xp, half(xp, blocks, 0) * scales, _values(xp, blocks[:, 8:], 8))


def quantize_iq4_xs(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 136]."""
    n = x.shape[0]
    columns = contiguous(xp, x.reshape(-1, 32).T)
    scale, _ = nearest_values(xp, columns, kvalues("IQ4_NL"), tries=7, index=_index(xp))
    scale = scale.reshape(n, 8)
    d = extreme(xp, scale, 1) / -32
    s = clamp(xp, nearest_int(xp, inverse(xp, d) * scale), -32, 31)
    dl = d * s.astype(xp.float32)
    q = _index(xp)(inverse(xp, dl)[:, :, None] * x.reshape(n, 8, 32))
    s = s + 32
    high = sum((s[:, i : i + 1] >> 4) << (2 * i) for i in range(8))
    low = s[:, ::2] & 15 | ((s[:, 1::2] & 15) << 4)
    return join(
        xp,
        [
            d.astype(xp.float16),
            high.astype(xp.uint16),
            low.astype(xp.uint8),
            pack(xp, q.reshape(n, 256), groups=8, bits=4),
        ],
    )


def _index(xp: Any) -> Callable[[Array], Array]:
    """A function from numbers to the int32 index of the nearest value, the upper one of two; any index for NaN."""
    table = xp.asarray(nearest_kvalue())
    last = float(table.shape[0] - 1)
    middle = float(table.shape[0] // 2)

    def index(x: Array) -> Array:
        # The borders between values are multiples of 1/2, so half steps decide exactly. The middle is added after
        # floor: the sum of both could be rounded over a border.
        step = clamp(xp, xp.floor(x + x) + middle, 0.0, last).astype(xp.int32)
        # NaN may have become any integer.
        return xp.take(table, clamp(xp, step, 0, int(last)))

    return index


def _values(xp: Any, packed: Array, groups: int) -> Array:
    """Table values of bytes, the low halves of a group first: int8 [n, 2 * bytes]."""
    n = packed.shape[0]
    pairs = byte_table(xp, kvalue_pairs("IQ4_NL"), packed).reshape(n, groups, -1, 2)
    return xp.stack([pairs[:, :, :, 0], pairs[:, :, :, 1]], axis=2).reshape(n, -1)
