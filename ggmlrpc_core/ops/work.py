"""How much arithmetic a graph asks for, from its shapes alone: what a server bounds before anything runs.

Strides of 0 and broadcasting let a few bytes stand for years of multiplications. The estimate is in operations, right
within a small factor: elements read and written count 1 each, the inner loop of an op counts as WORK says.

Counted in f64: products of extents go beyond 2^63.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from ggmlrpc_core.errors import BadGraph, clip
from ggmlrpc_core.graph.table import OP_NAME, Columns, Nodes, TensorTable
from ggmlrpc_core.graph.tensor import VIEW_OPS

Work = Callable[[Nodes], np.ndarray]

SORT_FACTOR = 32
"""Comparisons and moves for an element that is sorted; log2 of the longest row that fits in memory."""


def elements(c: Columns) -> np.ndarray:
    """float64 [n]: elements of each tensor."""
    return c.ne.astype(np.float64).prod(axis=1)


def extent(c: Columns, *dimensions: int) -> np.ndarray:
    """float64 [n]: product of some extents."""
    return c.ne[:, dimensions].astype(np.float64).prod(axis=1)


def _attention(c: Nodes) -> np.ndarray:
    q, k, v = c.src(0), c.src(1), c.src(2)
    return 2 * extent(q, 1, 2, 3) * extent(k, 1) * (extent(k, 0) + extent(v, 0))


def _attention_back(c: Nodes) -> np.ndarray:
    q, k, v = c.src(0), c.src(1), c.src(2)
    longest = np.maximum(np.maximum(extent(k, 1), extent(v, 0)), extent(v, 1))
    return 10 * extent(q, 1, 2, 3) * longest * extent(q, 0)


def _state(slot: int) -> Work:
    """A recurrence whose state has a square of head elements: each element of a source meets a row of it."""
    return lambda c: 8 * elements(c.src(slot)) * extent(c.src(slot), 0)


def _per_result(*dimensions: int, slot: int = 0) -> Work:
    """A sum over some extents of a source, for each element of the result."""
    return lambda c: 2 * elements(c) * extent(c.src(slot), *dimensions)


WORK: Mapping[str, Work] = MappingProxyType(
    {
        "MUL_MAT": _per_result(0),
        "MUL_MAT_ID": _per_result(0),
        "OUT_PROD": _per_result(1),
        "SOLVE_TRI": _per_result(0),
        "CONV_2D": _per_result(0, 1, 2),
        "CONV_2D_DW": _per_result(0, 1),
        "CONV_3D": lambda c: _per_result(0, 1, 2)(c) * np.maximum(c.i32(9), 0),
        "CONV_TRANSPOSE_1D": lambda c: 2 * elements(c.src(1)) * extent(c.src(0), 0, 1),
        "CONV_TRANSPOSE_2D": lambda c: 2 * elements(c.src(1)) * extent(c.src(0), 0, 1, 2),
        "POOL_1D": lambda c: elements(c) * np.maximum(c.i32(1), 0),
        "POOL_2D": lambda c: elements(c) * np.maximum(c.i32(1), 0) * np.maximum(c.i32(2), 0),
        "POOL_2D_BACK": lambda c: (
            elements(c.src(0)) * np.maximum(c.i32(1), 0) * np.maximum(c.i32(2), 0)
        ),
        "FLASH_ATTN_EXT": _attention,
        "FLASH_ATTN_BACK": _attention_back,
        "SSM_CONV": _per_result(0, slot=1),
        "SSM_SCAN": lambda c: 4 * elements(c.src(1)) * extent(c.src(0), 0),
        "RWKV_WKV6": _state(0),
        "RWKV_WKV7": _state(0),
        "GATED_LINEAR_ATTN": _state(0),
        "GATED_DELTA_NET": _state(2),
        "LIGHTNING_INDEXER": _per_result(0, 1),
        "DSV4_HC_COMB": lambda c: 8 * elements(c) * np.maximum(c.i32(1), 0),
        "DSV4_HC_POST": _per_result(0, slot=3),
        "ARGSORT": lambda c: SORT_FACTOR * elements(c.src(0)),
        "TOP_K": lambda c: SORT_FACTOR * elements(c.src(0)),
    }
)
"""The inner loop of the ops that have one, operations for each node."""


def node_work(table: TensorTable, rows: np.ndarray) -> np.ndarray:
    """Operations of nodes: float64 [n], 0 for view ops.

    Args:
        table: every tensor of the graph.
        rows: int64 [n], which of them are nodes; their ops have been checked.
    """
    sizes = table.ne.astype(np.float64).prod(axis=1)
    src = table.src[rows]
    work = sizes[rows] + np.where(src >= 0, sizes[src], 0.0).sum(axis=1)
    for number in np.unique(table.op[rows]).tolist():
        chosen = table.op[rows] == number
        name = str(OP_NAME[number])
        if name in VIEW_OPS:
            work[chosen] = 0.0
        elif name in WORK:
            work[chosen] += WORK[name](Nodes(table, rows[chosen]))
    return work


def check_work(table: TensorTable, rows: np.ndarray, most: float) -> None:
    """Refuse a graph that asks for more than a bound.

    Raises:
        BadGraph: it names the node that asks for most.
    """
    work = node_work(table, rows)
    total = float(work.sum())
    if not total <= most:  # a bound that is no number bounds everything
        row = int(rows[work.argmax()])
        shown = f"{OP_NAME[table.op[row]]} {clip(repr(table.names(row)))}"
        raise BadGraph(
            "GRAPH_COMPUTE",
            "work of the graph",
            f"{total:.2g} operations",
            f"at most {most:.2g}",
            context=f"most of it in {shown}",
        )
