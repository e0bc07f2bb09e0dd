"""Conversion of raw arrays: the table of all types, and the functions that other packages call.

It knows which functions belong to a type and how rows are cut into blocks; the layouts are in the family modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.ggml.types import TYPES, GgmlType
from ggmlrpc_core.quants import fp4, iq, iq4, k, k_quantize, legacy, ternary
from ggmlrpc_core.quants.bits import Array
from ggmlrpc_core.quants.floats import as_f32, plain_from_f32, plain_to_f32

Codec = Callable[[Any, Array], Array]


@dataclass(frozen=True, slots=True)
class Format:
    """The two directions of a block format: [n, type_size] uint8 and [n, blck_size] float32.

    `quantize` is None where the stock CPU backend has none either.
    """

    dequantize: Codec
    quantize: Codec | None = None


FORMATS: MappingProxyType[str, Format] = MappingProxyType(
    {
        "Q1_0": Format(legacy.dequantize_q1_0, legacy.quantize_q1_0),
        "Q2_0": Format(legacy.dequantize_q2_0, legacy.quantize_q2_0),
        "Q4_0": Format(legacy.dequantize_q4_0, legacy.quantize_q4_0),
        "Q4_1": Format(legacy.dequantize_q4_1, legacy.quantize_q4_1),
        "Q5_0": Format(legacy.dequantize_q5_0, legacy.quantize_q5_0),
        "Q5_1": Format(legacy.dequantize_q5_1, legacy.quantize_q5_1),
        "Q8_0": Format(legacy.dequantize_q8_0, legacy.quantize_q8_0),
        "Q8_1": Format(legacy.dequantize_q8_1, legacy.quantize_q8_1),
        "Q2_K": Format(k.dequantize_q2_k, k_quantize.quantize_q2_k),
        "Q3_K": Format(k.dequantize_q3_k, k_quantize.quantize_q3_k),
        "Q4_K": Format(k.dequantize_q4_k, k_quantize.quantize_q4_k),
        "Q5_K": Format(k.dequantize_q5_k, k_quantize.quantize_q5_k),
        "Q6_K": Format(k.dequantize_q6_k, k_quantize.quantize_q6_k),
        "Q8_K": Format(k.dequantize_q8_k, k_quantize.quantize_q8_k),
        "IQ1_S": Format(iq.iq1_s),
        "IQ1_M": Format(iq.iq1_m),
        "IQ2_XXS": Format(iq.iq2_xxs),
        "IQ2_XS": Format(iq.iq2_xs),
        "IQ2_S": Format(iq.iq2_s),
        "IQ3_XXS": Format(iq.iq3_xxs),
        "IQ3_S": Format(iq.iq3_s),
        "IQ4_NL": Format(iq4.dequantize_iq4_nl, iq4.quantize_iq4_nl),
        "IQ4_XS": Format(iq4.dequantize_iq4_xs, iq4.quantize_iq4_xs),
        "TQ1_0": Format(ternary.dequantize_tq1_0, ternary.quantize_tq1_0),
        "TQ2_0": Format(ternary.dequantize_tq2_0, ternary.quantize_tq2_0),
        "MXFP4": Format(fp4.dequantize_mxfp4, fp4.quantize_mxfp4),
        "NVFP4": Format(fp4.dequantize_nvfp4, fp4.quantize_nvfp4),
    }
)
"""Every type that is stored in blocks, by name."""

HOST_CHUNK = 1 << 16
"""Elements converted at once on the host: what a pass leaves should still be in the cache in the next."""


def to_f32(xp: Any, raw: Array, ggml_type: GgmlType) -> Array:
    """Decode a raw array (graph/views.py).

    Args:
        raw: [..., ne0] of the plain type's dtype (BF16: uint16), or uint8 [..., bytes of a row]; any strides.
        ggml_type: its type; any bytes are allowed, scales that are NaN or infinite give such values.

    Returns:
        float32 [..., ne0]; for F32 it is `raw` itself.
    """
    with np.errstate(all="ignore"):
        if not ggml_type.quantized:
            return plain_to_f32(xp, raw, ggml_type.name)
        rows, width = raw.shape[:-1], raw.shape[-1]
        n = math.prod(raw.shape) // ggml_type.type_size
        values = dequantize(xp, raw.reshape(n, ggml_type.type_size), ggml_type.name)
        return values.reshape(*rows, width // ggml_type.type_size * ggml_type.blck_size)


def from_f32(xp: Any, values: Array, ggml_type: GgmlType) -> Array:
    """Encode numbers as a raw array, with the bytes of the stock reference quantizers.

    NaN, infinities and numbers too large for the scale of the type are allowed, but the bytes of a block that has one
    are not specified.

    Args:
        values: [..., ne0], ne0 a multiple of blck_size; floats, or integers for an integer type.
        ggml_type: a plain type or one with `from_f32`.

    Returns:
        A raw array as `to_f32` takes it.

    Raises:
        UnsupportedOp: nothing can be converted to the type.
    """
    with np.errstate(all="ignore"):
        if not ggml_type.quantized:
            return plain_from_f32(xp, values, ggml_type.name)
        rows, ne0 = values.shape[:-1], values.shape[-1]
        n = math.prod(values.shape) // ggml_type.blck_size
        blocks = as_f32(xp, values).reshape(n, ggml_type.blck_size)
        return quantize(xp, blocks, ggml_type.name).reshape(*rows, ggml_type.row_size(ne0))


def dequantize(xp: Any, blocks: Array, name: str) -> Array:
    """Decode blocks of the type `name`: uint8 [n, type_size] to float32 [n, blck_size]."""
    with np.errstate(all="ignore"):
        known = TYPES[name]
        if not blocks.shape[0]:
            return xp.zeros((0, known.blck_size), dtype=xp.float32)
        return _chunked(xp, FORMATS[name].dequantize, blocks, known.blck_size)


def quantize(xp: Any, blocks: Array, name: str) -> Array:
    """Encode float32 [n, blck_size] as blocks of the type `name`: uint8 [n, type_size].

    Raises:
        UnsupportedOp: nothing can be converted to the type.
    """
    encode = FORMATS[name].quantize
    if encode is None:
        able = ", ".join(sorted(key for key, value in FORMATS.items() if value.quantize))
        raise UnsupportedOp("from_f32", "type", name, f"one of {able}")
    with np.errstate(all="ignore"):
        known = TYPES[name]
        if not blocks.shape[0]:
            return xp.zeros((0, known.type_size), dtype=xp.uint8)
        return _chunked(xp, encode, blocks, known.blck_size)


def _chunked(xp: Any, convert: Codec, blocks: Array, blck_size: int) -> Array:
    """Apply a codec to all blocks; on the host in pieces that fit in the cache."""
    step = HOST_CHUNK // blck_size
    if xp is not np or blocks.shape[0] <= step:
        return convert(xp, blocks)
    starts = range(0, blocks.shape[0], step)
    return np.concatenate([convert(xp, blocks[i : i + step]) for i in starts])
