"""Types of 4-bit floats: MXFP4 and NVFP4.

An element is E2M1: the sign, two exponent bits and one mantissa bit. The value table holds doubled values, so
both scales below are half of what their code says.

MXFP4, 32 elements, 17 bytes: e, u8[16]. Scale 2**(e - 128) (E8M0); byte j holds element j low and j + 16 high.
NVFP4, 64 elements, 36 bytes: u8[4], u8[32]. Four runs of 16 with an unsigned E4M3 scale each; byte j of a run's
    eight holds element j low and j + 8 high.

Source: ggml-quants.c quantize_row_mxfp4_ref, quantize_row_nvfp4_ref and their dequantizers; ggml-impl.h.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.quants.bits import Array, byte_table, join, pack, scaled
from ggmlrpc_core.quants.grids import (
    e8m0_halves,
    kvalue_pairs,
    kvalues,
    log2_steps,
    ue4m3_halves,
)


def dequantize_mxfp4(xp: Any, blocks: Array) -> Array:
    """[n, 17] to float32 [n, 32]."""
    d = xp.take(xp.asarray(e8m0_halves()), blocks[:, :1])
    return scaled(xp, d, _values(xp, blocks[:, 1:], 1))


def quantize_mxfp4(xp: Any, x: Array) -> Array:
    """float32 [n, 32] to [n, 17]."""
    size = xp.max(xp.abs(x), axis=1, keepdims=True)
    e = xp.where(size > 0, (_floor_log2(xp, size) + 125) & 255, 0)
    d = xp.take(xp.asarray(e8m0_halves()), e)
    return join(xp, [e.astype(xp.uint8), pack(xp, _nearest(xp, x, d), groups=1, bits=4)])


def dequantize_nvfp4(xp: Any, blocks: Array) -> Array:
    """[n, 36] to float32 [n, 64]."""
    d = xp.take(xp.asarray(ue4m3_halves()), blocks[:, :4])
    return scaled(xp, d, _values(xp, blocks[:, 4:], 4))


def quantize_nvfp4(xp: Any, x: Array) -> Array:
    """float32 [n, 64] to [n, 36]."""
    n = x.shape[0]
    runs = x.reshape(n * 4, 16)
    codes = _to_ue4m3(xp, xp.max(xp.abs(runs), axis=1, keepdims=True) / 6)
    d = xp.take(xp.asarray(ue4m3_halves()), codes)
    q = _nearest(xp, runs, d).reshape(n, 64)
    return join(xp, [codes.reshape(n, 4).astype(xp.uint8), pack(xp, q, groups=4, bits=4)])


def _values(xp: Any, packed: Array, groups: int) -> Array:
    """Table values of bytes: the low halves of a group first; int8 [n, 2 * bytes]."""
    n = packed.shape[0]
    pairs = byte_table(xp, kvalue_pairs("MXFP4"), packed).reshape(n, groups, -1, 2)
    return xp.stack([pairs[:, :, :, 0], pairs[:, :, :, 1]], axis=2).reshape(n, -1)


def _nearest(xp: Any, x: Array, d: Array) -> Array:
    """Index of the table value nearest to x / d, the first among equals: int8, shape of x.

    Errors are compared in float32 as the stock quantizer does, so that rounding gives the same ties; by symmetry
    only the eight values without sign are tried. NaN becomes index 0.
    """
    size = xp.abs(x)
    index, least = xp.zeros(x.shape, dtype=xp.int8), size
    for i, value in enumerate(kvalues("MXFP4").tolist()[1:8], start=1):
        error = xp.abs(d * float(value) - size)
        # Every improvement has a greater index than the one before.
        index = xp.maximum(index, (error < least).astype(xp.int8) * i)
        least = xp.minimum(least, error)
    return index + ((x < 0) & (index > 0)).astype(xp.int8) * 8


def _floor_log2(xp: Any, x: Array) -> Array:
    """floor(log2f(x)) of normal float32 above 0, as int32; what rounds up to a whole number is that number."""
    bits = x.view(xp.int32)
    exponent = bits >> 23
    carry = (bits & 0x7FFFFF) >= xp.take(xp.asarray(log2_steps()), exponent)
    return exponent - 127 + carry.astype(xp.int32)


def _to_ue4m3(xp: Any, x: Array) -> Array:
    """Code of the unsigned E4M3 scale for x >= 0: int32 0..0x7E.

    Source: ggml-impl.h ggml_fp32_to_ue4m3.
    """
    x = xp.where(x > 0, xp.minimum(x, 448.0), 0.0)
    bits = x.view(xp.int32)
    # Half up on the dropped bits; a carry out of the mantissa raises the exponent by itself.
    normal = (((bits >> 19) - (120 << 4)) + 1) >> 1
    subnormal = xp.minimum((x * 512.0 + 0.5).astype(xp.int32), 7)
    # Everything from 2**8 on takes the greatest code.
    return xp.where((bits >> 23) <= 120, subnormal, xp.where(normal >= 0x78, 0x7E, normal))
