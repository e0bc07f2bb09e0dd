"""IQ4_NL and IQ4_XS: 4-bit indices into 16 values that are denser near zero.

IQ4_NL, 32 elements, 18 bytes: float16 d; u8[16]: byte j holds element j low and j + 16 high. y = d * value[q].
IQ4_XS, 256 elements, 136 bytes: float16 d; u16 scales_h; u8[4] scales_l; u8[128]: each run of 16 bytes as IQ4_NL. Run i
    has a scale of 6 bits: the low four in half i % 2 of scales_l[i // 2], the upper two at bit 2 i of scales_h.
    y = d * (s - 32) * value[q].

Source: ggml-quants.c dequantize_row_iq4_*, quantize_row_iq4_nl_impl; ggml-common.h block_iq4_*.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.quants.bits import Array, byte_table, field, half, nibbles, scaled
from ggmlrpc_core.quants.grids import kvalue_pairs


def dequantize_iq4_nl(xp: Any, blocks: Array) -> Array:
    """[n, 18] to float32 [n, 32]."""
    return half(xp, blocks, 0) * _values(xp, blocks[:, 2:], 1).astype(xp.float32)


def dequantize_iq4_xs(xp: Any, blocks: Array) -> Array:
    """[n, 136] to float32 [n, 256]."""
    high = field(xp, blocks, 2, 4, xp.uint16).astype(xp.int32)
    high = xp.concatenate([(high >> (2 * i)) & 3 for i in range(8)], axis=1)
    low = nibbles(xp, blocks[:, 4:8, None]).astype(xp.int32)
    scales = ((low | (high << 4)) - 32).astype(xp.float32)
    return scaled(xp, half(xp, blocks, 0) * scales, _values(xp, blocks[:, 8:], 8))


def _values(xp: Any, packed: Array, groups: int) -> Array:
    """Table values of bytes, the low halves of a group first: int8 [n, 2 * bytes]."""
    n = packed.shape[0]
    pairs = byte_table(xp, kvalue_pairs("IQ4_NL"), packed).reshape(n, groups, -1, 2)
    return xp.stack([pairs[:, :, :, 0], pairs[:, :, :, 1]], axis=2).reshape(n, -1)
