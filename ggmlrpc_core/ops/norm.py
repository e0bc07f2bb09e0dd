"""Normalization of rows or groups: NORM, RMS_NORM, L2_NORM, GROUP_NORM."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, f32, i32, op, source
from ggmlrpc_core.ops.rules import all_of, f32_at_least, same_shape
from ggmlrpc_core.ops.values import floats, wide_sum

PRECISION = "squares in f32, summed in f64, rounded to f32; nmse <= 1e-7"

_eps_checked = all_of(same_shape, f32_at_least(0, "eps", 0.0))


@op(
    "NORM",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[f32(0, "eps")],
    check=_eps_checked,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_norm_f32",
)
def norm(xp: Any, node: Tensor, a: Any, *, eps: float) -> Any:
    """Subtract the mean of each row, then divide by sqrt(variance + eps)."""
    x = floats(xp, a, node.src[0])
    return _standardize(xp, x, -1, eps)


def _standardize(xp: Any, x: Any, axis: int | tuple[int, ...], eps: float) -> Any:
    """Mean 0 and variance 1 along axes."""
    count = _count(x, axis)
    x = x - (wide_sum(xp, x, axis) / count).astype(xp.float32)
    variance = wide_sum(xp, x * x, axis) / count
    return x * (1.0 / xp.sqrt(variance + eps)).astype(xp.float32)


def _count(x: Any, axis: int | tuple[int, ...]) -> int:
    """Elements along axes."""
    count = 1
    for d in (axis,) if isinstance(axis, int) else axis:
        count *= x.shape[d]
    return count


@op(
    "RMS_NORM",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[f32(0, "eps")],
    check=_eps_checked,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_rms_norm_f32",
)
def rms_norm(xp: Any, node: Tensor, a: Any, *, eps: float) -> Any:
    """Divide each row by sqrt(mean of squares + eps)."""
    x = floats(xp, a, node.src[0])
    mean = wide_sum(xp, x * x, -1) / x.shape[-1]
    return x * (1.0 / xp.sqrt(mean + eps)).astype(xp.float32)


@op(
    "L2_NORM",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[f32(0, "eps")],
    check=_eps_checked,
    precision=PRECISION,
    since="2025-03-18",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_l2_norm_f32",
)
def l2_norm(xp: Any, node: Tensor, a: Any, *, eps: float) -> Any:
    """Divide each row by max(its euclidean length, eps); by eps when the length is NaN."""
    x = floats(xp, a, node.src[0])
    length = xp.sqrt(wide_sum(xp, x * x, -1))
    return x * (1.0 / xp.where(length > eps, length, eps)).astype(xp.float32)


def _check_group_norm(c: Nodes) -> None:
    same_shape(c)
    c.require(c.i32(0) > 0, "n_groups", c.i32(0), "at least 1")


@op(
    "GROUP_NORM",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[i32(0, "n_groups"), f32(1, "eps")],
    check=_check_group_norm,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_group_norm_f32",
)
def group_norm(xp: Any, node: Tensor, a: Any, *, n_groups: int, eps: float) -> Any:
    """NORM over groups of channels instead of rows.

    a: [w, h, channels, n]. A group takes ceil(channels / n_groups) channels with all their elements; the last one may
    be smaller.
    """
    x = floats(xp, a, node.src[0])
    n_channels = x.shape[1]
    per_group = -(-n_channels // n_groups)
    groups = [
        _standardize(xp, x[:, start : start + per_group], (1, 2, 3), eps)
        for start in range(0, n_channels, per_group)
    ]
    return xp.concatenate(groups, axis=1)
