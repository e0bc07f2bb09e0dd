"""Plain types: floats and integers, one element per item.

F32, F16, F64, I8, I16, I32, I64 are arrays of their own dtype; BF16 is uint16, the upper half of a float32.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from ggmlrpc_core.quants.bits import Array

DTYPE: MappingProxyType[str, str] = MappingProxyType(
    {
        "F32": "float32", "F16": "float16", "F64": "float64",
        "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    }
)  # fmt: skip
"""Name of the dtype of each plain type, the same in every namespace; BF16 is apart."""


def bf16_to_f32(xp: Any, raw: Array) -> Array:
    """uint16 bits to float32, exact."""
    return (raw.astype(xp.uint32) << 16).view(xp.float32)


def bf16_from_f32(xp: Any, values: Array) -> Array:
    """float32 to uint16 bits: nearest, ties to even; NaN becomes quiet and keeps its upper payload.

    Source: ggml-impl.h ggml_compute_fp32_to_bf16.
    """
    bits = values.view(xp.uint32)
    rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
    quiet = (bits >> 16) | 64
    return xp.where((bits & 0x7FFFFFFF) > 0x7F800000, quiet, rounded).astype(xp.uint16)


def as_f32(xp: Any, values: Array) -> Array:
    """The values as float32: the same array if it is one already."""
    return values if values.dtype == xp.float32 else values.astype(xp.float32)


def plain_to_f32(xp: Any, raw: Array, name: str) -> Array:
    """Any plain type to float32, each value rounded to nearest; F32 gives the array itself."""
    return bf16_to_f32(xp, raw) if name == "BF16" else as_f32(xp, raw)


def plain_from_f32(xp: Any, values: Array, name: str) -> Array:
    """Numbers to a plain type: integers truncate; F16 and BF16 round from float32, ties to even."""
    if name == "BF16":
        return bf16_from_f32(xp, as_f32(xp, values))
    if name == "F16":
        return as_f32(xp, values).astype(xp.float16)
    return values.astype(getattr(xp, DTYPE[name]))
