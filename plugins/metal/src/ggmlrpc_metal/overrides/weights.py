"""What overrides of matrix products ask about weights, and how they read them as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import floats, present
from ggmlrpc_metal import kernels

TILE_BYTES = 16 << 20
"""Most f32 bytes of weights that are decoded at a time."""
MIN_ELEMENTS = 8
"""MLX passes smaller arrays to a kernel in constant memory, which the kernels do not read weights from."""

Decode = Callable[[Any, Any, Tensor], Any]
"""`decode(mx, raw, tensor)`: the elements of a raw array [d3, d2, d1, row] as f32."""


def readable_in_place(tensor: Tensor) -> bool:
    """Whether the kernels can read a weight: rows without gaps, and fields at even addresses."""
    kind = tensor.type
    if kind.name not in kernels.all_formats() or tensor.nb[0] != kind.type_size:
        return False
    if (
        tensor.nelements // kind.blck_size * (kind.type_size if kind.quantized else 1)
        < MIN_ELEMENTS
    ):
        return False
    even = all(n % 2 == 0 for n in (tensor.offset, *tensor.nb[1:]))
    return even or kind.type_size % 2 == 1


def decode_by_library(mx: Any, raw: Any, tensor: Tensor) -> Any:
    """Decode with array functions, on any backend."""
    return floats(mx, raw, tensor)


def decode_by_kernel(mx: Any, raw: Any, tensor: Tensor) -> Any:
    """Decode with a Metal kernel where the type has blocks."""
    if not tensor.type.quantized:
        return floats(mx, raw, tensor)
    return kernels.dequantize(mx, tensor.type.name, raw)


def row_tiles(raw: Any, row_elements: int) -> Iterator[slice]:
    """Slices of dimension d1 of a raw array whose f32 form is at most TILE_BYTES, at least one row each."""
    d3, d2, d1, _ = raw.shape
    step = max(1, TILE_BYTES // (4 * max(1, row_elements * d2 * d3)))
    for start in range(0, d1, step):
        yield slice(start, min(start + step, d1))


def shared_columns(node: Tensor, x: Any) -> Any:
    """x [B3, B2, n, k] as [B3, A2, columns, k]: the columns that one slice of the weights serves."""
    a2 = present(node.src[0]).ne[2]
    b3, b2, n, k = x.shape
    return x.reshape(b3, a2, b2 // a2 * n, k)
