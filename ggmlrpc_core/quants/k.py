"""The K types, layout and dequantizing: Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K; quantizing is in k_quantize.py.

Blocks have 256 elements; d and dmin are float16 except in Q8_K.

Q2_K, 84 bytes: u8[16] scales: the low half is s, the high half m, one per 16 elements; u8[64]; d; dmin. Byte i of each
    run of 32 bytes holds elements i, i + 32, i + 64, i + 96 of its 128 from the lowest bits up.
    y = d * s * q - dmin * m.
Q3_K, 110 bytes: u8[32] hmask: bit b of byte i is bit 2 of element 32 b + i; u8[64] low two bits as Q2_K;
    u8[12] scales of 6 bits, one per 16 elements: bits 0-3 of scale j are half (j // 8) of byte j % 8, bits 4-5 are
    bits 2 (j // 4) of byte 8 + j % 4; d. y = d * (s - 32) * (q - 4).
Q4_K, 144 bytes: d; dmin; u8[12] s and m of 6 bits, one per 32 elements: for j < 4 s is the low 6 bits of byte j, m of
    byte 4 + j; for j >= 4 their low halves are those of byte 4 + j, s first, and their upper 2 bits end bytes j - 4
    and j; u8[128]: byte i of each run of 32 holds elements i and i + 32 of its 64. y = d * s * q - dmin * m.
Q5_K, 176 bytes: d; dmin; u8[12] as Q4_K; u8[32] qh: bit b of byte i is bit 4 of element 32 b + i; u8[128] as Q4_K.
Q6_K, 210 bytes: u8[128] ql: each run of 64 bytes holds the low halves of 128 elements, byte i those of i and i + 64;
    u8[64] qh: upper two bits as Q2_K; i8[16] scales, one per 16 elements; d. y = d * s * (q - 32).
Q8_K, 292 bytes: float32 d; i8[256]; i16[16] sums of 16 quants each. y = d * q; the other operand of dot products.

Source: ggml-quants.c dequantize_row_q*_K, ggml-common.h block_q*_K.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.quants.bits import Array, crumbs, field, half, nibbles, scaled


def dequantize_q2_k(xp: Any, blocks: Array) -> Array:
    """[n, 84] to float32 [n, 256]."""
    n = blocks.shape[0]
    dl = half(xp, blocks, 80) * (blocks[:, :16] & 15).astype(xp.float32)
    ml = half(xp, blocks, 82) * (blocks[:, :16] >> 4).astype(xp.float32)
    q = crumbs(xp, blocks[:, 16:80].reshape(n, 2, 32))
    return _affine(xp, dl, ml, q)


def dequantize_q3_k(xp: Any, blocks: Array) -> Array:
    """[n, 110] to float32 [n, 256]."""
    n = blocks.shape[0]
    scales = q3_scales(xp, blocks[:, 96:108]).view(xp.int8) - 32
    low = crumbs(xp, blocks[:, 32:96].reshape(n, 2, 32))
    q = (low | (bit_planes(xp, blocks[:, :32]) << 2)).view(xp.int8) - 4
    return scaled(xp, half(xp, blocks, 108) * scales.astype(xp.float32), q)


def dequantize_q4_k(xp: Any, blocks: Array) -> Array:
    """[n, 144] to float32 [n, 256]."""
    dl, ml = _scales(xp, blocks)
    return _affine(xp, dl, ml, nibbles(xp, blocks[:, 16:].reshape(-1, 4, 32)))


def dequantize_q5_k(xp: Any, blocks: Array) -> Array:
    """[n, 176] to float32 [n, 256]."""
    dl, ml = _scales(xp, blocks)
    low = nibbles(xp, blocks[:, 48:].reshape(-1, 4, 32))
    return _affine(xp, dl, ml, low | (bit_planes(xp, blocks[:, 16:48]) << 4))


def dequantize_q6_k(xp: Any, blocks: Array) -> Array:
    """[n, 210] to float32 [n, 256]."""
    n = blocks.shape[0]
    low = nibbles(xp, blocks[:, :128].reshape(n, 2, 64))
    high = crumbs(xp, blocks[:, 128:192].reshape(n, 2, 32))
    q = (low | (high << 4)).view(xp.int8) - 32
    scales = field(xp, blocks, 192, 208, xp.int8).astype(xp.float32)
    return scaled(xp, half(xp, blocks, 208) * scales, q)


def dequantize_q8_k(xp: Any, blocks: Array) -> Array:
    """[n, 292] to float32 [n, 256]."""
    d = field(xp, blocks, 0, 4, xp.float32)
    return d * field(xp, blocks, 4, 260, xp.int8).astype(xp.float32)


def q3_scales(xp: Any, packed: Array) -> Array:
    """Unpack the 16 scales of Q3_K, [n, 12] to uint8 [n, 16] of 0..63."""
    low = nibbles(xp, packed[:, None, :8])
    return low | (crumbs(xp, packed[:, None, 8:]) << 4)


def q4_scales(xp: Any, packed: Array) -> tuple[Array, Array]:
    """Unpack scales and mins of Q4_K and Q5_K, [n, 12] to two of uint8 [n, 8] of 0..63."""
    a, b, c = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    s = xp.concatenate([a & 63, (c & 15) | ((a >> 6) << 4)], axis=1)
    m = xp.concatenate([b & 63, (c >> 4) | ((b >> 6) << 4)], axis=1)
    return s, m


def bit_planes(xp: Any, packed: Array) -> Array:
    """Bit b of byte i becomes element 32 b + i: [n, 32] to uint8 [n, 256] of 0 and 1."""
    planes = [(packed >> bit) & 1 for bit in range(8)]
    return xp.concatenate(planes, axis=1)


def _scales(xp: Any, blocks: Array) -> tuple[Array, Array]:
    """d * s and dmin * m of Q4_K and Q5_K: float32 [n, 8] each."""
    s, m = q4_scales(xp, blocks[:, 4:16])
    return half(xp, blocks, 0) * s.astype(xp.float32), half(xp, blocks, 2) * m.astype(xp.float32)


def _affine(xp: Any, dl: Array, ml: Array, q: Array) -> Array:
    """dl * q - ml with scales [n, g] and quants [n, 256]."""
    n = q.shape[0]
    groups = q.reshape(n, dl.shape[1], -1).astype(xp.float32)
    return (dl[:, :, None] * groups - ml[:, :, None]).reshape(n, 256)
