"""Losses and gradients: SILU_BACK, RMS_NORM_BACK, SOFT_MAX_BACK, CROSS_ENTROPY_LOSS, CROSS_ENTROPY_LOSS_BACK.

Other gradients lie beside their op: REPEAT_BACK, GET_ROWS_BACK, ROPE_BACK, IM2COL_BACK, POOL_2D_BACK.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, f32, op, source
from ggmlrpc_core.ops.rules import all_of, f32_at_least, result_ne, same_shape, same_sources
from ggmlrpc_core.ops.values import floats, wide, wide_sum

PRECISION = "f32, sums in f64; nmse <= 1e-7"


@op(
    "SILU_BACK",
    sources=[source("gradient", *FLOATS), source("x", *FLOATS)],
    result=None,
    check=all_of(same_shape, same_sources),
    precision="f32; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_silu_back",
)
def silu_back(xp: Any, node: Tensor, gradient: Any, x: Any) -> Any:
    """gradient * s * (1 + x * (1 - s)), s the sigmoid of x."""
    g, x = floats(xp, gradient, node.src[0]), floats(xp, x, node.src[1])
    s = 1.0 / (1.0 + xp.exp(-x))
    return g * (s * (1.0 + x * (1.0 - s)))


@op(
    "RMS_NORM_BACK",
    sources=[source("gradient", *FLOATS), source("x", *FLOATS)],
    result=None,
    params=[f32(0, "eps")],
    check=all_of(same_shape, same_sources, f32_at_least(0, "eps", 0.0)),
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_rms_norm_back_f32",
)
def rms_norm_back(xp: Any, node: Tensor, gradient: Any, x: Any, *, eps: float) -> Any:
    """(gradient - x * sum(x * gradient) / (sum(x * x) + n * eps)) / sqrt(mean(x * x) + eps), sums over a row of n."""
    g, x = floats(xp, gradient, node.src[0]), floats(xp, x, node.src[1])
    n = x.shape[-1]
    squares = wide_sum(xp, x * x, -1)
    share = (wide_sum(xp, x * g, -1) / (squares + n * eps)).astype(xp.float32)
    return (g - x * share) * (1.0 / xp.sqrt(squares / n + eps)).astype(xp.float32)


def _check_soft_max_back(c: Nodes) -> None:
    same_shape(c)
    same_sources(c)
    c.require(c.f32(1) == 0, "max_bias", c.f32(1), "0")


@op(
    "SOFT_MAX_BACK",
    sources=[source("gradient", *FLOATS), source("y", *FLOATS)],
    result=None,
    params=[f32(0, "scale"), f32(1, "max_bias")],
    check=_check_soft_max_back,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_soft_max_ext_back_f32",
)
def soft_max_back(
    xp: Any, node: Tensor, gradient: Any, y: Any, *, scale: float, max_bias: float
) -> Any:
    """scale * y * (gradient - sum(y * gradient)), the sum over a row; y is what SOFT_MAX gave."""
    g, y = floats(xp, gradient, node.src[0]), floats(xp, y, node.src[1])
    return (g - wide_sum(xp, y * g, -1).astype(xp.float32)) * y * scale


def _check_cross_entropy_loss(c: Nodes) -> None:
    same_sources(c)
    c.require(c.src(0).nelements > 0, "src[0].ne", c.src(0).ne, "at least one element")
    result_ne(c, (1, 1, 1, 1), "[1, 1, 1, 1]")


@op(
    "CROSS_ENTROPY_LOSS",
    sources=[source("logits", *FLOATS), source("labels", *FLOATS)],
    result=None,
    check=_check_cross_entropy_loss,
    precision="logarithms and sums in f64; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_cross_entropy_loss_f32",
)
def cross_entropy_loss(xp: Any, node: Tensor, logits: Any, labels: Any) -> Any:
    """Minus the mean over rows of the sum of labels * log(softmax(logits))."""
    x, y = floats(xp, logits, node.src[0]), floats(xp, labels, node.src[1])
    x = (x - xp.max(x, axis=-1, keepdims=True)).astype(wide(xp))
    x = x - xp.log(xp.sum(xp.exp(x), axis=-1, keepdims=True))
    n_rows = x.shape[0] * x.shape[1] * x.shape[2]
    return (xp.sum(x * y) * (-1.0 / n_rows)).reshape(node.shape)


def _check_cross_entropy_loss_back(c: Nodes) -> None:
    gradient, logits, labels = (c.src(slot) for slot in range(3))
    c.require(gradient.nelements == 1, "src[0].ne", gradient.ne, "one element")
    c.require((labels.ne == logits.ne).all(axis=1), "src[2].ne", labels.ne, "src[1].ne")
    c.require((c.ne == logits.ne).all(axis=1), "ne", c.ne, "src[1].ne")


@op(
    "CROSS_ENTROPY_LOSS_BACK",
    sources=[
        source("gradient", *FLOATS),
        source("logits", *FLOATS),
        source("labels", *FLOATS),
    ],
    result=FLOATS,
    check=_check_cross_entropy_loss_back,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_cross_entropy_loss_back_f32",
)
def cross_entropy_loss_back(xp: Any, node: Tensor, gradient: Any, logits: Any, labels: Any) -> Any:
    """(softmax(logits) - labels) * gradient / rows; the gradient is one number."""
    g = floats(xp, gradient, node.src[0])
    x, y = floats(xp, logits, node.src[1]), floats(xp, labels, node.src[2])
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    e = e * (1.0 / wide_sum(xp, e, -1)).astype(xp.float32)
    n_rows = x.shape[0] * x.shape[1] * x.shape[2]
    return (e - y) * (g * (1.0 / n_rows))
