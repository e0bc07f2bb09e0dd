"""RMS_NORM and NORM by MLX's fused kernels, which sum in f32; RMS_NORM with the weights that follow it."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import floats, present
from ggmlrpc_metal.override import Fusion, Override
from ggmlrpc_metal.overrides.common import any_node, core


def _rms_norm(node: Tensor, a: Any, *, eps: float) -> Any:
    mx = core()
    return mx.fast.rms_norm(floats(mx, a, node.src[0]), None, eps)


def _norm(node: Tensor, a: Any, *, eps: float) -> Any:
    mx = core()
    return mx.fast.layer_norm(floats(mx, a, node.src[0]), None, None, eps)


NORMS = (Override("RMS_NORM", any_node, _rms_norm), Override("NORM", any_node, _norm))


def _weighted(norm: Tensor, product: Tensor) -> bool:
    """Nobody else reads the norm, and all rows are multiplied by one row of weights.

    Where the norm takes a place of its own in a graph and others read it, it would be computed twice.
    """
    weights = present(product.src[1])
    same = norm.type.name == product.type.name == weights.type.name == "F32"
    one_row = weights.ne == (norm.ne[0], 1, 1, 1)
    return norm.use_count == 1 and same and one_row and norm.ne == product.ne


def _weighted_rms_norm(norm: Tensor, product: Tensor, a: Any, weights: Any) -> Any:
    mx = core()
    return mx.fast.rms_norm(floats(mx, a, norm.src[0]), weights.reshape(-1), norm.f32(0))


WEIGHTED = Fusion("RMS_NORM", "MUL", _weighted, _weighted_rms_norm)
