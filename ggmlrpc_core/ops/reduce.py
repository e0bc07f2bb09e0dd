"""Sums: SUM, SUM_ROWS, MEAN, CUMSUM, COUNT_EQUAL, REPEAT_BACK."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, op, source
from ggmlrpc_core.ops.rules import divides, result_ne, same_shape, same_sources
from ggmlrpc_core.ops.values import floats, wide, wide_sum

PRECISION = "summed in f64; nmse <= 1e-7"


def _check_scalar(c: Nodes) -> None:
    c.require(c.nelements == 1, "ne", c.ne, "one element")


def _check_rows(c: Nodes) -> None:
    a = c.src(0)
    rule = "[1, src[0].ne[1], src[0].ne[2], src[0].ne[3]]"
    result_ne(c, (1, a.ne[:, 1], a.ne[:, 2], a.ne[:, 3]), rule)


@op(
    "SUM",
    sources=[source("a", *FLOATS)],
    result=None,
    check=_check_scalar,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_sum",
)
def sum_all(xp: Any, node: Tensor, a: Any) -> Any:
    """The sum of all elements."""
    return wide_sum(xp, floats(xp, a, node.src[0]), (0, 1, 2, 3))


@op(
    "SUM_ROWS",
    sources=[source("a", *FLOATS)],
    result=None,
    check=_check_rows,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_sum_rows_f32",
)
def sum_rows(xp: Any, node: Tensor, a: Any) -> Any:
    """The sum of each row."""
    return wide_sum(xp, floats(xp, a, node.src[0]), -1)


@op(
    "MEAN",
    sources=[source("a", *FLOATS)],
    result="F32",
    check=_check_rows,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_mean_f32",
)
def mean(xp: Any, node: Tensor, a: Any) -> Any:
    """The mean of each row; NaN for rows without elements."""
    x = floats(xp, a, node.src[0])
    return wide_sum(xp, x, -1) / xp.full((1,), x.shape[-1], dtype=wide(xp))


@op(
    "CUMSUM",
    sources=[source("a", *FLOATS)],
    result=None,
    check=same_shape,
    precision=PRECISION,
    since="2025-11-13",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_cumsum_f32",
)
def cumsum(xp: Any, node: Tensor, a: Any) -> Any:
    """The running sum along each row, each element included in its own."""
    return xp.cumsum(floats(xp, a, node.src[0]).astype(wide(xp)), axis=-1)


def _check_count_equal(c: Nodes) -> None:
    same_sources(c)
    _check_scalar(c)


@op(
    "COUNT_EQUAL",
    sources=[source("a", "I32"), source("b", "I32")],
    result="I64",
    check=_check_count_equal,
    precision="exact",
    since="2024-10-03",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_count_equal_i32",
)
def count_equal(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """How many elements are equal at the same place."""
    return xp.sum((a == b).astype(xp.int64)).reshape(node.shape)


def _check_repeat_back(c: Nodes) -> None:
    a = c.src(0)
    c.require(divides(c.ne, a.ne).all(axis=1), "ne", c.ne, "extents that divide src[0].ne")


@op(
    "REPEAT_BACK",
    sources=[source("a", *FLOATS)],
    result="F32",
    check=_check_repeat_back,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_repeat_back_f32",
)
def repeat_back(xp: Any, node: Tensor, a: Any) -> Any:
    """The sum of the tiles that REPEAT made."""
    x = floats(xp, a, node.src[0])
    split = [part for n, m in zip(x.shape, node.shape) for part in (n // m, m)]
    return wide_sum(xp, x.reshape(split), (0, 2, 4, 6)).reshape(node.shape)
