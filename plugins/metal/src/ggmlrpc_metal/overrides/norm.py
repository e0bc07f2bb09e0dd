"""RMS_NORM and NORM by MLX's fused kernels, which sum in f32."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import floats
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import any_node, core


def _rms_norm(node: Tensor, a: Any, *, eps: float) -> Any:
    mx = core()
    return mx.fast.rms_norm(floats(mx, a, node.src[0]), None, eps)


def _norm(node: Tensor, a: Any, *, eps: float) -> Any:
    mx = core()
    return mx.fast.layer_norm(floats(mx, a, node.src[0]), None, None, eps)


NORMS = (Override("RMS_NORM", any_node, _rms_norm), Override("NORM", any_node, _norm))
