"""From raw arrays to numbers and back, for NumPy, CuPy and mlx.core.

Every function is pure: no out=, no write into an argument, no boolean-mask read, no .item().
`xp` is the array library that the arrays belong to.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import GgmlType
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import raw_layout

_DTYPE_NAME: MappingProxyType[str, str] = MappingProxyType(
    {
        "F32": "float32", "F16": "float16", "F64": "float64",
        "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    }
)  # fmt: skip


def wide(xp: Any) -> Any:
    """The type for sums that upstream keeps in double: float64 where the library computes in it."""
    return xp.float64 if xp.__name__ in ("numpy", "cupy") else xp.float32


def present(tensor: Tensor | None) -> Tensor:
    """A source that validation has found to be there."""
    assert tensor is not None, "a required source was checked before"
    return tensor


def floats(xp: Any, raw: Any, tensor: Tensor | None) -> Any:
    """The elements of a raw array as f32, in NumPy order; any type that can be read as numbers."""
    tensor = present(tensor)
    name = tensor.type.name
    if name == "F32":
        return raw
    if name in _DTYPE_NAME:
        return raw.astype(xp.float32)
    return quants.to_f32(xp, raw, tensor.type)


def encode(xp: Any, values: Any, ggml_type: GgmlType) -> Any:
    """The raw form of values in a type; values that are raw already are returned as they are."""
    if ggml_type.name in _DTYPE_NAME:
        dtype = getattr(xp, _DTYPE_NAME[ggml_type.name])
        return values if values.dtype == dtype else values.astype(dtype)
    raw_dtype = xp.uint16 if ggml_type.name == "BF16" else xp.uint8
    if values.dtype == raw_dtype:
        return values
    return quants.from_f32(xp, values.astype(xp.float32), ggml_type)


def raw_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a tensor's raw array."""
    return raw_layout(tensor.type, tensor.ne, tensor.nb)[1]


def wide_sum(xp: Any, x: Any, axis: int | tuple[int, ...]) -> Any:
    """The sum along axes, kept as extents of 1, in the wide type."""
    return xp.sum(x.astype(wide(xp)), axis=axis, keepdims=True)


def constant(xp: Any, values: Any, dtype: Any) -> Any:
    """An array of the library from numbers that were made on the host."""
    return xp.asarray(np.ascontiguousarray(values, dtype=dtype))


def to_host(xp: Any, array: Any) -> np.ndarray:
    """A NumPy copy or view of a small array; waits for the device."""
    if xp is np:
        return array
    return array.get() if hasattr(array, "get") else np.array(array)
