"""MUL_MAT: a kernel over the bytes for few columns, decoded tiles and MLX's product for many.

Source 0 is the weight [k, m, A2, A3], source 1 is x [k, n, B2, B3]; a slice of the weight serves all slices of x
that share it.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import floats, present
from ggmlrpc_metal import kernels
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import any_node, core
from ggmlrpc_metal.overrides.weights import (
    Decode,
    decode_by_kernel,
    decode_by_library,
    readable_in_place,
    row_tiles,
    shared_columns,
)

FEW_COLUMNS = 16
"""Most columns that the kernel is used for: it reads the weights once for every 8."""


def _few_columns(node: Tensor) -> bool:
    a, b = present(node.src[0]), present(node.src[1])
    return readable_in_place(a) and b.ne[1] * (b.ne[2] // a.ne[2]) <= FEW_COLUMNS


def _in_place(node: Tensor, a: Any, b: Any, **_: int) -> Any:
    """Read the weights where they lie."""
    mx = core()
    x = shared_columns(node, floats(mx, b, node.src[1]))
    return kernels.mul_mat(mx, present(node.src[0]).type.name, a, x).reshape(node.shape)


def product(mx: Any, a: Any, weight: Tensor, x: Any, *, decode: Decode) -> Any:
    """x [B3, A2, columns, k] times the rows of a raw weight [A3, A2, m, row], decoded tile by tile."""
    a3, a2, _, _ = a.shape
    b3, _, columns, k = x.shape
    shared = b3 > 1  # a slice of the weight may serve several of x along dimension 3 too
    if shared:
        x = x.reshape(a3, b3 // a3, a2, columns, k)
    parts = []
    for tile in row_tiles(a, k):
        rows = mx.swapaxes(decode(mx, a[:, :, tile], weight), 2, 3)
        parts.append(mx.matmul(x, rows[:, None] if shared else rows))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=-1)


def _decoded(decode: Decode) -> Any:
    def compute(node: Tensor, a: Any, b: Any, **_: int) -> Any:
        mx = core()
        x = shared_columns(node, floats(mx, b, node.src[1]))
        return product(mx, a, present(node.src[0]), x, decode=decode).reshape(node.shape)

    return compute


def _kernel_decodes(node: Tensor) -> bool:
    return readable_in_place(present(node.src[0]))


IN_PLACE = Override("MUL_MAT", _few_columns, _in_place, needs_gpu=True)
DECODED = (
    Override("MUL_MAT", _kernel_decodes, _decoded(decode_by_kernel), needs_gpu=True),
    Override("MUL_MAT", any_node, _decoded(decode_by_library)),
)
