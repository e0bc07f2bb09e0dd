"""Rows picked, written or summed by number: GET_ROWS, SET_ROWS, GET_ROWS_BACK."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import TYPE_NAME, Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import ENCODABLE, FLOATS, QUANTS, Ids, RowUpdate, op, source
from ggmlrpc_core.ops.rules import divides, result_ne
from ggmlrpc_core.ops.values import constant, floats, present, to_host


def _check_get_rows(c: Nodes) -> None:
    a, ids = c.src(0), c.src(1)
    c.require(ids.ne[:, 1] == a.ne[:, 2], "src[1].ne[1]", ids.ne[:, 1], "src[0].ne[2]")
    c.require(ids.ne[:, 2] == a.ne[:, 3], "src[1].ne[2]", ids.ne[:, 2], "src[0].ne[3]")
    c.require(ids.ne[:, 3] == 1, "src[1].ne[3]", ids.ne[:, 3], "1")
    rule = "[src[0].ne[0], src[1].ne[0], src[1].ne[1], src[1].ne[2]]"
    result_ne(c, (a.ne[:, 0], ids.ne[:, 0], ids.ne[:, 1], ids.ne[:, 2]), rule)
    ok = a.is_type("I32") == c.is_type("I32")
    c.require(ok, "type", TYPE_NAME[c.type], "I32 exactly when src[0] is I32")


@op(
    "GET_ROWS",
    sources=[source("a", *FLOATS, "I32", *QUANTS), source("ids", "I32")],
    result=("F32", "I32"),
    check=_check_get_rows,
    ids=Ids(1, lambda node: present(node.src[0]).ne[1]),
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_get_rows",
)
def get_rows(xp: Any, node: Tensor, a: Any, ids: Any) -> Any:
    """Rows of a by number, as f32 (I32 stays I32).

    a: [n, rows, A2, A3]; ids: [r, A2, A3]; result [n, r, A2, A3]. Rows are gathered before they are decoded.
    """
    n3, n2 = a.shape[:2]
    i3 = xp.arange(n3).reshape(n3, 1, 1)
    i2 = xp.arange(n2).reshape(1, n2, 1)
    rows = a[i3, i2, ids[0]]
    return rows if node.type.name == "I32" else floats(xp, rows, node.src[0])


def _check_set_rows(c: Nodes) -> None:
    values, ids, destination = c.src(0), c.src(1), c.src(2)
    ok = (destination.ne == c.ne).all(axis=1) | ~destination.present
    c.require(ok, "src[2].ne", destination.ne, "the shape of the node")
    for d in (0, 2, 3):
        c.require(values.ne[:, d] == c.ne[:, d], f"src[0].ne[{d}]", values.ne[:, d], f"ne[{d}]")
    c.require(ids.ne[:, 0] == values.ne[:, 1], "src[1].ne[0]", ids.ne[:, 0], "src[0].ne[1]")
    for d in (1, 2):
        ok = divides(ids.ne[:, d], values.ne[:, d + 1])
        c.require(ok, f"src[1].ne[{d}]", ids.ne[:, d], f"a divisor of src[0].ne[{d + 1}]")
    c.require(ids.ne[:, 3] == 1, "src[1].ne[3]", ids.ne[:, 3], "1")


@op(
    "SET_ROWS",
    sources=[
        source("values", "F32", "F16"),
        source("ids", "I64", "I32"),
        source("destination", *FLOATS, "I32", *ENCODABLE, optional=True),
    ],
    result=(*FLOATS, "I32", *ENCODABLE),
    check=_check_set_rows,
    ids=Ids(1, lambda node: node.ne[1]),
    precision="exact, or the rounding of the node's type",
    since="2025-06-27",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_set_rows",
)
def set_rows(xp: Any, node: Tensor, values: Any, ids: Any, destination: Any) -> RowUpdate:
    """Write rows of the node by number and leave the others as they are.

    values: [n, r, V2, V3]; ids: [r, I1, I2]; row j of slice (i2, i3) goes to row ids[j, i2 % I1, i3 % I2]. The node is
    a view of the destination. Of equal ids the last counts.
    """
    n3, n2 = values.shape[:2]
    i3, i2 = ids.shape[1:3]
    rows = xp.tile(ids[0], (n3 // i3, n2 // i2, 1))
    return RowUpdate(rows=rows, values=floats(xp, values, node.src[0]))


def _check_get_rows_back(c: Nodes) -> None:
    gradient, ids = c.src(0), c.src(1)
    c.require((gradient.ne[:, 2:] == 1).all(axis=1), "src[0].ne", gradient.ne, "a matrix")
    c.require((ids.ne[:, 1:] == 1).all(axis=1), "src[1].ne", ids.ne, "a vector")
    ok = ids.ne[:, 0] <= gradient.ne[:, 1]
    c.require(ok, "src[1].ne[0]", ids.ne[:, 0], "at most src[0].ne[1]")
    result_ne(c, (gradient.ne[:, 0], c.ne[:, 1], 1, 1), "a matrix with rows of src[0].ne[0]")


@op(
    "GET_ROWS_BACK",
    sources=[source("gradient", *FLOATS), source("ids", "I32")],
    result="F32",
    check=_check_get_rows_back,
    ids=Ids(1, lambda node: node.ne[1]),
    precision="f32 sums in the order of the ids; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_get_rows_back",
)
def get_rows_back(xp: Any, node: Tensor, gradient: Any, ids: Any) -> Any:
    """Add row j of the gradient to row ids[j] of a zero matrix; rows that no id names are not read."""
    x = floats(xp, gradient, node.src[0])[0, 0]
    chosen = to_host(xp, ids).reshape(-1)
    total = xp.zeros((node.ne[1], node.ne[0]), dtype=xp.float32)
    # One round for the first use of each id, one for the second, and so on: no round adds twice to a row.
    order = np.argsort(chosen, kind="stable")
    first = np.searchsorted(chosen[order], chosen[order])
    occurrence = np.empty(len(chosen), np.int64)
    occurrence[order] = np.arange(len(chosen)) - first
    for turn in range(int(occurrence.max()) + 1 if len(chosen) else 0):
        origin = np.full(node.ne[1], -1)
        origin[chosen[occurrence == turn]] = np.flatnonzero(occurrence == turn)
        rows = x[constant(xp, np.maximum(origin, 0), np.int32)]
        total = xp.where(constant(xp, origin[:, None] >= 0, np.bool_), total + rows, total)
    return total.reshape(node.shape)
