"""Raw arrays: how the bytes of a tensor look as an array of NumPy (or of another library of its kind).

The raw array of a tensor has NumPy order (`shape` is `ne` reversed). Plain types have their own dtype, BF16
is uint16, and a quantized type is uint8 with the bytes of a row in the last dimension:
shape [ne3, ne2, ne1, row bytes].
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from ggmlrpc_core.ggml.types import GgmlType
from ggmlrpc_core.graph.tensor import Tensor

RAW_DTYPE: MappingProxyType[str, np.dtype] = MappingProxyType(
    {
        name: np.dtype(dtype)
        for name, dtype in {
            "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8",
            "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
        }.items()
    }
)  # fmt: skip
"""Dtype of the raw array of each plain type; every other type is uint8."""


def raw_layout(
    ggml_type: GgmlType, ne: tuple[int, ...], nb: tuple[int, ...]
) -> tuple[np.dtype, tuple[int, ...], tuple[int, ...]]:
    """(dtype, shape, strides in bytes) of a tensor's raw array."""
    dtype = RAW_DTYPE.get(ggml_type.name)
    if dtype is not None:
        return dtype, ne[::-1], nb[::-1]
    return np.dtype(np.uint8), (*ne[:0:-1], ggml_type.row_size(ne[0])), (*nb[:0:-1], 1)


def raw_view(tensor: Tensor, memory: np.ndarray) -> np.ndarray:
    """A writable view of a tensor inside `memory`, the uint8 array of its whole buffer."""
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    return np.ndarray(shape, dtype, buffer=memory.data, offset=tensor.offset, strides=strides)
