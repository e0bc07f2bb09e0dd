"""Ops that make values from positions: FILL, ARANGE, TRI, DIAG, DIAG_MASK_*, TIMESTEP_EMBEDDING."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, f32, i32, op, source
from ggmlrpc_core.ops.rules import contiguous, result_ne, same_shape
from ggmlrpc_core.ops.values import constant, floats, wide


@op(
    "FILL",
    sources=[source("shape", *FLOATS)],
    result=None,
    params=[f32(0, "value")],
    check=same_shape,
    precision="exact",
    since="2025-11-13",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_fill_f32",
)
def fill(xp: Any, node: Tensor, shape: Any, *, value: float) -> Any:
    """One value everywhere."""
    return xp.full(node.shape, value, dtype=xp.float32)


def _check_arange(c: Nodes) -> None:
    start, stop, step = (c.f32(slot).astype(np.float64) for slot in range(3))
    c.require((step != 0) & np.isfinite(step), "step", step, "a number other than 0")
    # Upstream counts in f32; the last place of the quotient is not held against a client.
    with np.errstate(all="ignore"):
        count = (stop - start) / np.where(step != 0, step, 1.0)
    ok = np.isfinite(count) & (np.abs(c.ne[:, 0] - np.ceil(count)) <= 1)
    c.require(ok, "ne[0]", c.ne[:, 0], "the steps from start to stop")
    result_ne(c, (c.ne[:, 0], 1, 1, 1), "a vector")


@op(
    "ARANGE",
    sources=[],
    result="F32",
    params=[f32(0, "start"), f32(1, "stop"), f32(2, "step")],
    check=_check_arange,
    precision="f32",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_arange_f32",
)
def arange(xp: Any, node: Tensor, *, start: float, stop: float, step: float) -> Any:
    """start + i * step."""
    i = np.arange(node.ne[0], dtype=np.float32)
    return constant(xp, np.float32(start) + np.float32(step) * i, np.float32).reshape(node.shape)


UPPER_DIAG, UPPER, LOWER_DIAG, LOWER = range(4)


def _check_tri(c: Nodes) -> None:
    same_shape(c)
    a = c.src(0)
    contiguous(0)(c)
    c.require(a.ne[:, 0] == a.ne[:, 1], "src[0].ne[1]", a.ne[:, 1], "src[0].ne[0]")
    c.require((c.i32(0) >= 0) & (c.i32(0) <= LOWER), "kind", c.i32(0), "inside [0, 4)")


@op(
    "TRI",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[i32(0, "kind")],
    check=_check_tri,
    precision="exact",
    since="2025-11-13",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_tri_f32",
)
def tri(xp: Any, node: Tensor, a: Any, *, kind: int) -> Any:
    """One triangle of each matrix, zero elsewhere: 0 upper with diagonal, 1 upper, 2 lower with diagonal, 3 lower."""
    x = floats(xp, a, node.src[0])
    row, column = np.ogrid[: x.shape[2], : x.shape[3]]
    keep = (column >= row, column > row, column <= row, column < row)[kind]
    return xp.where(constant(xp, keep, np.bool_), x, xp.zeros_like(x))


def _check_diag(c: Nodes) -> None:
    a = c.src(0)
    c.require(a.ne[:, 1] == 1, "src[0].ne[1]", a.ne[:, 1], "1")
    rule = "[src[0].ne[0], src[0].ne[0], src[0].ne[2], src[0].ne[3]]"
    result_ne(c, (a.ne[:, 0], a.ne[:, 0], a.ne[:, 2], a.ne[:, 3]), rule)


@op(
    "DIAG",
    sources=[source("a", *FLOATS)],
    result=None,
    check=_check_diag,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_diag_f32",
)
def diag(xp: Any, node: Tensor, a: Any) -> Any:
    """Matrices with the rows of a as diagonals, zero elsewhere."""
    x = floats(xp, a, node.src[0])
    return xp.where(constant(xp, np.eye(x.shape[-1]), np.bool_), x, xp.zeros_like(x))


def _masked(xp: Any, node: Tensor, a: Any, n_past: int, value: float) -> Any:
    """a, with `value` in every column after n_past + row."""
    x = floats(xp, a, node.src[0])
    row, column = np.ogrid[: x.shape[2], : x.shape[3]]
    return xp.where(constant(xp, column > n_past + row, np.bool_), value, x)


def _check_diag_mask(c: Nodes) -> None:
    same_shape(c)
    c.require(c.i32(0) >= 0, "n_past", c.i32(0), "at least 0")


@op(
    "DIAG_MASK_INF",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[i32(0, "n_past")],
    check=_check_diag_mask,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_diag_mask_f32",
)
def diag_mask_inf(xp: Any, node: Tensor, a: Any, *, n_past: int) -> Any:
    """Elements whose column is above n_past + row become -inf."""
    return _masked(xp, node, a, n_past, -math.inf)


@op(
    "DIAG_MASK_ZERO",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[i32(0, "n_past")],
    check=_check_diag_mask,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_diag_mask_f32",
)
def diag_mask_zero(xp: Any, node: Tensor, a: Any, *, n_past: int) -> Any:
    """Elements whose column is above n_past + row become 0."""
    return _masked(xp, node, a, n_past, 0.0)


def _check_timestep_embedding(c: Nodes) -> None:
    a = c.src(0)
    c.require((a.ne[:, 1:] == 1).all(axis=1), "src[0].ne", a.ne, "a vector")
    c.require(c.i32(0) > 0, "dim", c.i32(0), "at least 1")
    c.require(c.i32(1) > 0, "max_period", c.i32(1), "at least 1")
    # Clients before 2025-09-16 made an odd dim one larger; the extra column is 0.
    ok = (c.ne[:, 0] == c.i32(0)) | ((c.i32(0) % 2 == 1) & (c.ne[:, 0] == c.i32(0) + 1))
    c.require(ok, "ne[0]", c.ne[:, 0], "dim")
    result_ne(c, (c.ne[:, 0], a.ne[:, 0], 1, 1), "[dim, src[0].ne[0], 1, 1]")


@op(
    "TIMESTEP_EMBEDDING",
    sources=[source("timesteps", *FLOATS)],
    result="F32",
    params=[i32(0, "dim"), i32(1, "max_period")],
    check=_check_timestep_embedding,
    precision="angles in f64; nmse <= 1e-7 for timesteps below 4096",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_timestep_embedding_f32",
)
def timestep_embedding(xp: Any, node: Tensor, timesteps: Any, *, dim: int, max_period: int) -> Any:
    """Cosines, then sines, of each timestep times falling frequencies; what is left over is 0.

    Frequency j of dim // 2 is exp(-log(max_period) * j / (dim // 2)).
    """
    half = dim // 2
    t = floats(xp, timesteps, node.src[0]).reshape(-1, 1).astype(wide(xp))
    n_rest = node.ne[0] - 2 * half
    rest = xp.zeros((t.shape[0], n_rest), dtype=wide(xp))
    frequencies = np.exp(-math.log(max_period) * np.arange(half) / max(half, 1))
    angle = t * xp.asarray(frequencies.astype(np.float32)).astype(wide(xp)).reshape(1, half)
    return xp.concatenate([xp.cos(angle), xp.sin(angle), rest], axis=1).reshape(node.shape)
