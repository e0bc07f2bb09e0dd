"""The ternary types TQ1_0 and TQ2_0: elements -1, 0 or +1 times one scale per block of 256.

d is float16 and ends the block; t = q + 1 is 0, 1 or 2.

TQ1_0, 54 bytes: u8[48] of five elements, u8[4] of four, d. A byte is ceil(v * 256 / 243) of the base-3 number v
    whose first digit is the most significant; four elements take the upper four of five digits. Digit i comes back
    as ((byte * 3**i mod 256) * 3) >> 8. Byte m of the first 32 holds elements m + 32 i, of the next 16
    elements 160 + m + 16 i, of the last four 240 + m + 4 i.
TQ2_0, 66 bytes: u8[64], d: byte m of each run of 32 holds elements m, m + 32, m + 64, m + 96 of its 128 from the
    lowest bits up. y = d * (q - 1), q up to 3.

Source: ggml-quants.c quantize_row_tq*_ref, dequantize_row_tq*.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.quants.bits import Array, crumbs, half, inverse, join, pack, round_away

RUNS = ((0, 0, 32, 5), (32, 160, 16, 5), (48, 240, 4, 4))
"""TQ1_0: (first byte, first element, bytes, digits per byte) of its three parts."""


def dequantize_tq1_0(xp: Any, blocks: Array) -> Array:
    """[n, 54] to float32 [n, 256]."""
    digits = [
        blocks[:, start : start + size] * 3**i
        for start, _, size, count in RUNS
        for i in range(count)
    ]
    trits = (xp.concatenate(digits, axis=1).astype(xp.uint16) * 3) >> 8
    return half(xp, blocks, 52) * (trits.astype(xp.float32) - 1.0)


def quantize_tq1_0(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 54]."""
    d, trits = _trits(xp, x)
    parts = []
    for _, first, size, count in RUNS:
        digits = trits[:, first : first + size * count].reshape(-1, count, size)
        value = sum(digits[:, i] * 3 ** (4 - i) for i in range(count)) & 255
        parts.append(((value * 256 + 242) // 243).astype(xp.uint8))
    return join(xp, [*parts, d])


def dequantize_tq2_0(xp: Any, blocks: Array) -> Array:
    """[n, 66] to float32 [n, 256]."""
    q = crumbs(xp, blocks[:, :64].reshape(-1, 2, 32)).view(xp.int8) - 1
    return half(xp, blocks, 64) * q.astype(xp.float32)


def quantize_tq2_0(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 66]."""
    d, trits = _trits(xp, x)
    return join(xp, [pack(xp, trits & 3, groups=2, bits=2), d])


def _trits(xp: Any, x: Array) -> tuple[Array, Array]:
    """Scale by the greatest size: (float16 d, int32 0..2)."""
    d = xp.max(xp.abs(x), axis=1, keepdims=True)
    return d.astype(xp.float16), round_away(xp, x * inverse(xp, d)).astype(xp.int32) + 1
