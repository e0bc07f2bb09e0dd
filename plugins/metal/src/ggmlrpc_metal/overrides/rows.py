"""GET_ROWS of quantized rows: gathered as bytes by MLX, decoded by a kernel."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import present
from ggmlrpc_metal import kernels
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import core


def _quantized(node: Tensor) -> bool:
    # What is gathered is a new array, so that the layout of the source does not matter.
    a = present(node.src[0])
    return a.type.quantized and a.type.name in kernels.all_formats()


def _get_rows(node: Tensor, a: Any, ids: Any) -> Any:
    mx = core()
    n3, n2 = a.shape[:2]
    i3 = mx.arange(n3).reshape(n3, 1, 1)
    i2 = mx.arange(n2).reshape(1, n2, 1)
    rows = a[i3, i2, ids[0]]
    return kernels.dequantize(mx, present(node.src[0]).type.name, rows)


GET_ROWS = Override("GET_ROWS", _quantized, _get_rows, needs_gpu=True)
