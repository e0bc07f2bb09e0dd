"""SOFT_MAX by MLX's fused kernel, where there are no sinks and the mask is not weighted by heads."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import floats, present
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import core

MAX_BIAS = 1


def _plain(node: Tensor) -> bool:
    mask = node.src[1] if len(node.src) > 1 else None
    sinks = node.src[2] if len(node.src) > 2 else None
    a = present(node.src[0])
    repeated = mask is None or all(mask.ne[d] in (1, a.ne[d]) for d in (2, 3))
    return sinks is None and repeated and not node.f32(MAX_BIAS) > 0.0


def _soft_max(node: Tensor, a: Any, mask: Any, sinks: Any, *, scale: float, max_bias: float) -> Any:
    mx = core()
    x = floats(mx, a, node.src[0]) * scale
    if mask is not None:
        x = x + floats(mx, mask[:, :, : x.shape[2]], node.src[1])
    return mx.softmax(x, axis=-1)


SOFT_MAX = Override("SOFT_MAX", _plain, _soft_max)
