"""NumPy arrays to the bytes of a tensor and back. Knows no connection."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core import quants
from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import RAW_DTYPE, raw_layout


def to_bytes(tensor: Tensor, values: Any) -> memoryview:
    """The bytes of a contiguous tensor.

    Args:
        tensor: where they will go.
        values: bytes of exactly tensor.nbytes; or an array in NumPy order (shape is ne reversed, or any shape with as
            many elements) of the tensor's own dtype, or of another one, which is converted, quantized if need be.

    Raises:
        LocalProtocolError: another size, or a tensor with gaps.
        UnsupportedOp: nobody can quantize into the type.
    """
    if not tensor.contiguous:
        raise LocalProtocolError(
            "SET_TENSOR", "nb", list(tensor.nb), "contiguous", context=f"tensor {tensor.name!r}"
        )
    if isinstance(values, bytes | bytearray | memoryview):
        data = memoryview(values).cast("B")
        _check_size(tensor, len(data), tensor.nbytes, "bytes")
        return data
    array = np.asarray(values)
    raw_dtype = raw_layout(tensor.type, tensor.ne, tensor.nb)[0]
    if array.dtype == raw_dtype and array.nbytes == tensor.nbytes:
        raw = array
    else:
        _check_size(tensor, array.size, tensor.nelements, "elements")
        if tensor.type.name in RAW_DTYPE and tensor.type.name != "BF16":
            raw = array.astype(raw_dtype)
        else:
            raw = quants.from_f32(np, array.astype(np.float32).reshape(tensor.shape), tensor.type)
    flat = np.ascontiguousarray(raw).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")


def from_bytes(tensor: Tensor, data: np.ndarray) -> np.ndarray:
    """The elements of a tensor in NumPy order, of its own dtype; F32 for BF16 and quantized types.

    Args:
        tensor: of any strides.
        data: uint8, the tensor.nbytes bytes from its first on.
    """
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    if 0 in shape:
        return np.zeros(tensor.shape, RAW_DTYPE.get(tensor.type.name, np.dtype(np.float32)))
    raw = np.ndarray(shape, dtype, buffer=data.data, strides=strides)
    if tensor.type.name in RAW_DTYPE and tensor.type.name != "BF16":
        return raw
    return quants.to_f32(np, raw, tensor.type)


def _check_size(tensor: Tensor, got: int, expected: int, unit: str) -> None:
    if got != expected:
        raise LocalProtocolError(
            "SET_TENSOR", "data", f"{got} {unit}", f"{expected}", context=f"tensor {tensor.name!r}"
        )
