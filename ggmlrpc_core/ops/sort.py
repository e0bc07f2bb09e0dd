"""Order of the elements of a row: ARGSORT, TOP_K, ARGMAX."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, i32, op, source
from ggmlrpc_core.ops.rules import result_ne, same_shape
from ggmlrpc_core.ops.values import floats

ASCENDING, DESCENDING = 0, 1


def _check_argsort(c: Nodes) -> None:
    same_shape(c)
    order = c.i32(0)
    c.require((order == ASCENDING) | (order == DESCENDING), "order", order, "0 or 1")


@op(
    "ARGSORT",
    sources=[source("a", *FLOATS)],
    result="I32",
    params=[i32(0, "order")],
    check=_check_argsort,
    precision="exact; equal keys in any order",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_argsort_f32",
)
def argsort(xp: Any, node: Tensor, a: Any, *, order: int) -> Any:
    """The positions that sort each row, ascending (0) or descending (1)."""
    x = floats(xp, a, node.src[0])
    return xp.argsort(x if order == ASCENDING else -x, axis=-1)


def _check_top_k(c: Nodes) -> None:
    a = c.src(0)
    c.require(c.ne[:, 0] <= a.ne[:, 0], "ne[0]", c.ne[:, 0], "at most src[0].ne[0]")
    rule = "[k, src[0].ne[1], src[0].ne[2], src[0].ne[3]]"
    result_ne(c, (c.ne[:, 0], a.ne[:, 1], a.ne[:, 2], a.ne[:, 3]), rule)


@op(
    "TOP_K",
    sources=[source("a", *FLOATS)],
    result="I32",
    check=_check_top_k,
    precision="exact; in any order",
    since="2025-11-25",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_top_k_f32",
)
def top_k(xp: Any, node: Tensor, a: Any) -> Any:
    """The positions of the k largest elements of each row, in no order; k is node.ne[0]."""
    return xp.argsort(-floats(xp, a, node.src[0]), axis=-1)[..., : node.ne[0]]


def _check_argmax(c: Nodes) -> None:
    a = c.src(0)
    c.require(a.ne[:, 0] > 0, "src[0].ne[0]", a.ne[:, 0], "at least 1")
    c.require((a.ne[:, 2:] == 1).all(axis=1), "src[0].ne", a.ne, "a matrix")
    result_ne(c, (a.ne[:, 1], 1, 1, 1), "[src[0].ne[1], 1, 1, 1]")


@op(
    "ARGMAX",
    sources=[source("a", *FLOATS)],
    result="I32",
    check=_check_argmax,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_argmax_f32",
)
def argmax(xp: Any, node: Tensor, a: Any) -> Any:
    """The position of the largest element of each row; of equal ones the last.

    The search starts anew behind a NaN, as upstream's comparisons have it; a row of NaN gives 0.
    """
    x = floats(xp, a, node.src[0])
    number = x == x
    n_before = xp.cumsum(xp.where(number, 0, 1), axis=-1)
    counts = number & (n_before == xp.max(xp.where(number, n_before, -1), axis=-1, keepdims=True))
    largest = xp.max(xp.where(counts, x, -xp.inf), axis=-1, keepdims=True)
    places = xp.arange(x.shape[-1]).reshape(1, 1, 1, -1)
    return xp.max(xp.where(counts & (x == largest), places, 0), axis=-1).reshape(node.shape)
