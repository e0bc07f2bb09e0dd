"""IQ1, IQ2 and IQ3 types: groups of 4 or 8 elements are code words of a grid, with signs or a shift.

Dequantize only: the stock CPU backend cannot quantize into them either. Blocks have 256 elements, d is float16,
ib is a run of 32 elements, l a group of 8 in it. Multi-byte integers are little-endian.

IQ2_XXS, 66 bytes: d; per ib 8 bytes: 4 grid indices, then u32 with the 7-bit sign index of group l at bit 7l and
    the scale s in bits 28-31. db = d * (0.5 + s) / 4.
IQ2_XS, 74 bytes: d; u16[32], one per group: grid index in bits 0-8, sign index in 9-15; u8[8] scales, one per ib:
    low half for groups 0-1, high half for 2-3, as IQ2_XXS.
IQ2_S, 82 bytes: d; u8[32] low bits of grid indices; u8[32] sign bits of each group; u8[8] qh: bits 2l, 2l+1 are
    index bits 8-9 of group l; u8[8] scales as IQ2_XS.
IQ3_XXS, 98 bytes: d; u8[64] grid indices of 4 elements; u32[8], one per ib, signs and scale as IQ2_XXS.
    db = d * (0.5 + s) / 2.
IQ3_S, 110 bytes: d; u8[64] low bits of indices of 4 elements; u8[8] qh, one per ib: bit i is index bit 8 of its
    word i; u8[32] sign bits of groups of 8; u8[4] scales: half ib is s, db = d * (1 + 2s).
IQ1_S, 50 bytes: d; u8[32] low bits of grid indices; u16[8] qh, one per ib: bits 3l..3l+2 are index bits 8-10 of
    group l, bits 12-14 the scale s, bit 15 makes the shift negative. y = d * (2s + 1) * (grid +- 1/8).
IQ1_M, 56 bytes: u8[32] low bits of grid indices; u8[16] qh, a half byte per group: index bits 8-10 and in bit 3
    the sign of the shift; u16[4] scales: four 3-bit s, one per 16 elements, in bits 0-11, and a quarter of d
    (lowest first) in bits 12-15. y as IQ1_S.

Source: ggml-quants.c dequantize_row_iq*, ggml-common.h block_iq*.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.quants.bits import Array, byte_table, field, half, nibbles, scaled
from ggmlrpc_core.quants.grids import bit_rows, codebook, even_signs


def iq2_xxs(xp: Any, blocks: Array) -> Array:
    """IQ2_XXS [n, 66] to float32 [n, 256]."""
    n = blocks.shape[0]
    words = field(xp, blocks, 2, 66, xp.uint32).reshape(n, 8, 2)
    index = blocks[:, 2:66].reshape(n, 8, 8)[:, :, :4].reshape(n, 32)
    db = half(xp, blocks, 0) * ((words[:, :, 1] >> 28).astype(xp.float32) + 0.5) * 0.25
    grid = byte_table(xp, codebook("IQ2_XXS"), index)
    return scaled(xp, db, grid * _packed_signs(xp, words[:, :, 1]))


def iq2_xs(xp: Any, blocks: Array) -> Array:
    """IQ2_XS [n, 74] to float32 [n, 256]."""
    words = field(xp, blocks, 2, 66, xp.uint16)
    grid = byte_table(xp, codebook("IQ2_XS"), words & 511)
    signs = byte_table(xp, even_signs(), words >> 9)
    return scaled(xp, _iq2_scales(xp, blocks), grid * signs)


def iq2_s(xp: Any, blocks: Array) -> Array:
    """IQ2_S [n, 82] to float32 [n, 256]."""
    n = blocks.shape[0]
    high = _spread(xp, blocks[:, 66:74], 2, 4)
    index = blocks[:, 2:34].astype(xp.int32) | (high.reshape(n, 32) << 8)
    grid = byte_table(xp, codebook("IQ2_S"), index)
    signs = byte_table(xp, bit_rows(1, -1), blocks[:, 34:66])
    return scaled(xp, _iq2_scales(xp, blocks), grid * signs)


def iq3_xxs(xp: Any, blocks: Array) -> Array:
    """IQ3_XXS [n, 98] to float32 [n, 256]."""
    words = field(xp, blocks, 66, 98, xp.uint32)
    db = half(xp, blocks, 0) * ((words >> 28).astype(xp.float32) + 0.5) * 0.5
    grid = byte_table(xp, codebook("IQ3_XXS"), blocks[:, 2:66])
    return scaled(xp, db, grid * _packed_signs(xp, words))


def iq3_s(xp: Any, blocks: Array) -> Array:
    """IQ3_S [n, 110] to float32 [n, 256]."""
    n = blocks.shape[0]
    high = _spread(xp, blocks[:, 66:74], 1, 8)
    index = blocks[:, 2:66].astype(xp.int32) | (high.reshape(n, 64) << 8)
    grid = byte_table(xp, codebook("IQ3_S"), index)
    signs = byte_table(xp, bit_rows(1, -1), blocks[:, 74:106])
    scales = _spread(xp, blocks[:, 106:110], 4, 2).reshape(n, 8)
    return scaled(xp, half(xp, blocks, 0) * (scales * 2 + 1).astype(xp.float32), grid * signs)


def iq1_s(xp: Any, blocks: Array) -> Array:
    """IQ1_S [n, 50] to float32 [n, 256]."""
    n = blocks.shape[0]
    words = field(xp, blocks, 34, 50, xp.uint16).astype(xp.int32)
    high = _spread(xp, words, 3, 4, width=3)
    index = blocks[:, 2:34].astype(xp.int32) | (high.reshape(n, 32) << 8)
    scales = ((words >> 12) & 7) * 2 + 1
    return _shifted(xp, half(xp, blocks, 0), scales, index, 1 - (words >> 15) * 2)


def iq1_m(xp: Any, blocks: Array) -> Array:
    """IQ1_M [n, 56] to float32 [n, 256]."""
    n = blocks.shape[0]
    words = field(xp, blocks, 48, 56, xp.uint16)
    quarters = words >> 12
    bits = (
        quarters[:, 0:1]
        | (quarters[:, 1:2] << 4)
        | (quarters[:, 2:3] << 8)
        | (quarters[:, 3:4] << 12)
    )
    d = bits.view(xp.float16).astype(xp.float32)
    high = _spread(xp, blocks[:, 32:48], 4, 2).reshape(n, 32)
    index = blocks[:, :32].astype(xp.int32) | ((high & 7) << 8)
    scales = _spread(xp, words.astype(xp.int32), 3, 4, width=3).reshape(n, 16) * 2 + 1
    return _shifted(xp, d, scales, index, 1 - (high >> 3) * 2)


def _spread(xp: Any, a: Array, step: int, count: int, *, width: int | None = None) -> Array:
    """Bits [i * step, i * step + width) of every item [n, m], i below count: int32 [n, m, count]."""
    mask = 2 ** (width or step) - 1
    wide = a.astype(xp.int32)
    return xp.stack([(wide >> (i * step)) & mask for i in range(count)], axis=2)


def _packed_signs(xp: Any, words: Array) -> Array:
    """Signs of u32 [n, 8] with a 7-bit index at bits 0, 7, 14 and 21: int8 [n, 256]."""
    index = xp.stack([(words >> shift) & 127 for shift in (0, 7, 14, 21)], axis=2)
    return byte_table(xp, even_signs(), index.reshape(words.shape[0], -1).astype(xp.int32))


def _iq2_scales(xp: Any, blocks: Array) -> Array:
    """d * (0.5 + s) / 4 of the 16 half runs of IQ2_XS and IQ2_S, whose scales end the block."""
    scales = nibbles(xp, blocks[:, -8:][:, :, None])
    return half(xp, blocks, 0) * (scales.astype(xp.float32) + 0.5) * 0.25


def _shifted(xp: Any, d: Array, scales: Array, index: Array, signs: Array) -> Array:
    """d * scale * (grid + sign / 8), in eighths so that the sum stays a small integer."""
    n = index.shape[0]
    grid = byte_table(xp, codebook("IQ1_S"), index).reshape(n, signs.shape[1], -1)
    eighths = grid * 8 + signs.astype(xp.int8)[:, :, None]
    return scaled(xp, d * scales.astype(xp.float32) * 0.125, eighths.reshape(n, -1))
