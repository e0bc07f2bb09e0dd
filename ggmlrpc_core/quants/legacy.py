"""The types with one scale per small block: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 Q1_0 Q2_0.

d, m and s are float16, little-endian; a block has 32 elements where nothing else is said.

Q4_0, 18 bytes: d, u8[16]: byte j holds element j low and j + 16 high. y = d * (q - 8).
Q4_1, 20 bytes: d, m, u8[16] as Q4_0. y = d * q + m.
Q5_0, 22 bytes: d, u32 with bit 4 of element j at bit j, u8[16] as Q4_0. y = d * (q - 16).
Q5_1, 24 bytes: d, m, u32 and u8[16] as Q5_0. y = d * q + m.
Q8_0, 34 bytes: d, i8[32]. y = d * q.
Q8_1, 36 bytes: d, s = d * (sum of quants), i8[32]. y = d * q; the other operand of dot products.
Q1_0, 128 elements, 18 bytes: d, u8[16], lowest bit first: set is +d, clear is -d.
Q2_0, 64 elements, 18 bytes: d, u8[16], four per byte, lowest bits first. y = d * (q - 1).

Source: ggml-quants.c quantize_row_*_ref and dequantize_row_*, ggml-common.h block_q*.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.quants.bits import (
    Array,
    byte_table,
    clamp,
    crumbs,
    extreme,
    field,
    half,
    inverse,
    join,
    nibbles,
    ordered_sum,
    pack,
    round_away,
)
from ggmlrpc_core.quants.grids import bit_rows


def dequantize_q4_0(xp: Any, blocks: Array) -> Array:
    """[n, 18] to float32 [n, 32]."""
    q = nibbles(xp, blocks[:, None, 2:]).view(xp.int8) - 8
    return half(xp, blocks, 0) * q.astype(xp.float32)


def quantize_q4_0(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 18]."""
    d, q = _symmetric(xp, x, 8)
    return join(xp, [d, pack(xp, q, groups=1, bits=4)])


def dequantize_q4_1(xp: Any, blocks: Array) -> Array:
    """[n, 20] to float32 [n, 32]."""
    q = nibbles(xp, blocks[:, None, 4:]).astype(xp.float32)
    return half(xp, blocks, 0) * q + half(xp, blocks, 2)


def quantize_q4_1(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 20]."""
    d, m, q = _affine(xp, x, 15)
    return join(xp, [d, m, pack(xp, q, groups=1, bits=4)])


def dequantize_q5_0(xp: Any, blocks: Array) -> Array:
    """[n, 22] to float32 [n, 32]."""
    q = _five_bits(xp, blocks[:, 2:6], blocks[:, 6:]).view(xp.int8) - 16
    return half(xp, blocks, 0) * q.astype(xp.float32)


def quantize_q5_0(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 22]."""
    d, q = _symmetric(xp, x, 16)
    return join(xp, [d, _fifth_bits(xp, q), pack(xp, q & 15, groups=1, bits=4)])


def dequantize_q5_1(xp: Any, blocks: Array) -> Array:
    """[n, 24] to float32 [n, 32]."""
    q = _five_bits(xp, blocks[:, 4:8], blocks[:, 8:]).astype(xp.float32)
    return half(xp, blocks, 0) * q + half(xp, blocks, 2)


def quantize_q5_1(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 24]."""
    d, m, q = _affine(xp, x, 31)
    return join(xp, [d, m, _fifth_bits(xp, q), pack(xp, q & 15, groups=1, bits=4)])


def dequantize_q8_0(xp: Any, blocks: Array) -> Array:
    """[n, 34] to float32 [n, 32]."""
    return half(xp, blocks, 0) * field(xp, blocks, 2, 34, xp.int8).astype(xp.float32)


def quantize_q8_0(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 34]."""
    d, q = _eight_bits(xp, x)
    return join(xp, [d.astype(xp.float16), q.astype(xp.int8)])


def dequantize_q8_1(xp: Any, blocks: Array) -> Array:
    """[n, 36] to float32 [n, 32]."""
    return half(xp, blocks, 0) * field(xp, blocks, 4, 36, xp.int8).astype(xp.float32)


def quantize_q8_1(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 36]."""
    d, q = _eight_bits(xp, x)
    # The sum of 32 small integers is exact in float32 in any order.
    s = xp.sum(q, axis=1, keepdims=True) * d
    return join(xp, [d.astype(xp.float16), s.astype(xp.float16), q.astype(xp.int8)])


def dequantize_q1_0(xp: Any, blocks: Array) -> Array:
    """[n, 18] to float32 [n, 128]."""
    signs = byte_table(xp, bit_rows(-1, 1), blocks[:, 2:])
    return half(xp, blocks, 0) * signs.astype(xp.float32)


def quantize_q1_0(xp: Any, x: Array) -> Array:
    """float32 [n, 128] to [n, 18]: the mean size and the signs."""
    d = ordered_sum(xp.abs(x).T)[:, None] / 128
    return join(xp, [d.astype(xp.float16), pack(xp, x >= 0, groups=16, bits=1)])


def dequantize_q2_0(xp: Any, blocks: Array) -> Array:
    """[n, 18] to float32 [n, 64]."""
    q = crumbs(xp, blocks[:, 2:, None]).view(xp.int8) - 1
    return half(xp, blocks, 0) * q.astype(xp.float32)


def quantize_q2_0(xp: Any, x: Array) -> Array:
    """float32 [n, 64] to [n, 18]."""
    d = xp.max(xp.abs(x), axis=1, keepdims=True)
    q = clamp(xp, round_away(xp, x * inverse(xp, d)) + 1.0, 0.0, 3.0)
    return join(xp, [d.astype(xp.float16), pack(xp, q, groups=16, bits=2)])


def _five_bits(xp: Any, high: Array, low: Array) -> Array:
    """Values 0..31 from the packed fifth bits [n, 4] and the nibbles [n, 16]: uint8 [n, 32]."""
    return nibbles(xp, low[:, None, :]) | byte_table(xp, bit_rows(0, 16), high).view(xp.uint8)


def _fifth_bits(xp: Any, q: Array) -> Array:
    """Bit 4 of values [n, 32], element j at bit j: uint8 [n, 4]."""
    return pack(xp, q >> 4, groups=4, bits=1)


def _symmetric(xp: Any, x: Array, zero: int) -> tuple[Array, Array]:
    """Scale by the extreme value, which becomes quant 0: (float16 d, uint8 quants)."""
    # Adding 0 turns -0 into 0, which the search for the extreme starts from.
    d = (extreme(xp, x, 1) + 0.0) / -zero
    q = (x * inverse(xp, d) + (zero + 0.5)).astype(xp.int8)
    return d.astype(xp.float16), xp.minimum(q, 2 * zero - 1).astype(xp.uint8)


def _affine(xp: Any, x: Array, top: int) -> tuple[Array, Array, Array]:
    """Scale from the least to the greatest value: (float16 d, float16 m, uint8 quants)."""
    # By index, since of 0 and -0 the first counts.
    low = xp.take_along_axis(x, xp.argmin(x, axis=1)[:, None], axis=1)
    d = (xp.max(x, axis=1, keepdims=True) - low + 0.0) / top
    q = ((x - low) * inverse(xp, d) + 0.5).astype(xp.int8)
    return d.astype(xp.float16), low.astype(xp.float16), xp.minimum(q, top).astype(xp.uint8)


def _eight_bits(xp: Any, x: Array) -> tuple[Array, Array]:
    """Scale by the greatest size: (float32 d, quants -127..127 in float32)."""
    d = xp.max(xp.abs(x), axis=1, keepdims=True) / 127
    return d, round_away(xp, x * inverse(xp, d))
