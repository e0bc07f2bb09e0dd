"""Check the ops of a graph: known, sources, types, strides, and the shape rule of each.

The cost is a few array passes for each op that occurs, not for each node. Ids, buffers and addresses were
checked when the graph was parsed; here only columns are looked at.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ggmlrpc_core.errors import BadGraph, clip
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.table import (
    BLCK_SIZE,
    OP_NAME,
    TYPE_NAME,
    TYPE_SIZE,
    Nodes,
    TensorTable,
    type_mask,
)
from ggmlrpc_core.graph.tensor import VIEW_OPS
from ggmlrpc_core.ops.declare import OPS, Op

LAYOUT = "multiples of the element size, without gaps between blocks"
SPREAD_FREE = 256 << 20
"""Bytes that a source may have when its elements are laid side by side, whatever it occupies."""
MAX_SPREAD = 16
"""How many times its own bytes a larger source may have then; rows that overlap make the difference."""


def check_nodes(table: TensorTable, rows: np.ndarray) -> None:
    """Refuse nodes that must not run.

    Args:
        table: every tensor of the graph.
        rows: int64 [n], which of them are nodes. View ops, and nodes with an extent of 0, need only a known op.

    Raises:
        BadGraph: an op is unknown or never run on request of a peer, a required source is missing, or a type, shape
            or parameter breaks the op's rule. The first node (in the order of the op numbers) is named.
    """
    rows = rows[np.argsort(table.op[rows], kind="stable")]
    numbers, starts = np.unique(table.op[rows], return_index=True)
    works = table.ne[rows].all(axis=1)
    layout_ok = _layout_ok(table)
    odd_layout = None if layout_ok.all() else layout_ok
    computed = []
    for number, start, stop in zip(
        numbers.tolist(), starts.tolist(), [*starts[1:].tolist(), len(rows)]
    ):
        name = str(OP_NAME[number]) if 0 <= number < len(OP_NAME) else ""
        if name in VIEW_OPS:
            continue
        declared = OPS.get(name)
        if declared is None or declared.compute is None:
            shown = f"{name or number} {clip(repr(table.names(int(rows[start]))))}"
            raise BadGraph(
                "GRAPH_COMPUTE", "op", name or number, "an op that can be computed", context=shown
            )
        chosen = rows[start:stop][works[start:stop]]
        if len(chosen):
            _check_op(declared, Nodes(table, chosen), odd_layout)
            computed.append(chosen)
    if computed:
        chosen = np.concatenate(computed)
        _require_distinct_elements(table, chosen)
        _require_bounded_spread(table, chosen)


def _check_op(op: Op, c: Nodes, layout_ok: np.ndarray | None) -> None:
    """Sources, types and strides of all nodes of one op, then its own rule; layout_ok None when all are."""
    for slot, source in enumerate(op.sources):
        s = c.src(slot)
        if not s.everywhere and not source.optional:
            nothing = np.full(len(c.rows), "absent", object)
            c.require(s.present, f"src[{slot}]", nothing, f"a tensor ({source.name})")
        ok = _mask(source.types)[s.type]
        if not s.everywhere:
            ok |= ~s.present
        if not ok.all():
            c.require(ok, f"src[{slot}].type", TYPE_NAME[s.type], _one_of(source.types))
        if layout_ok is not None:
            c.require(layout_ok[s.rows] | ~s.present, f"src[{slot}].nb", s.nb, LAYOUT)
    if op.result is None:
        ok = c.type == c.src(0).type
        if not ok.all():
            c.require(ok, "type", TYPE_NAME[c.type], "the type of src[0]")
    else:
        ok = _mask(op.result)[c.type]
        if not ok.all():
            c.require(ok, "type", TYPE_NAME[c.type], _one_of(op.result))
    if layout_ok is not None:
        c.require(layout_ok[c.rows], "nb", c.nb, LAYOUT)
    if op.check is not None:
        op.check(c)


@cache
def _mask(types: frozenset[str]) -> np.ndarray:
    return type_mask(tuple(types))


@cache
def _one_of(types: frozenset[str]) -> str:
    """The types in the order of their numbers, for a sentence."""
    names = [name for name in TYPES if name in types]
    return names[0] if len(names) == 1 else "one of " + ", ".join(names)


def _layout_ok(table: TensorTable) -> np.ndarray:
    """bool by row: strides are whole elements, and rows of quantized types have no gaps."""
    size = TYPE_SIZE[table.type]
    used = table.ne > 1
    used[:, 0] |= BLCK_SIZE[table.type] > 1
    ok = (table.nb % np.maximum(size, 1)[:, None] == 0) | ~used
    # Rows of a quantized type may start at any byte, but its blocks lie side by side.
    quantized = BLCK_SIZE[table.type] > 1
    blocks = (table.nb[:, 0] == size) & (table.nb >= 0).all(axis=1)
    return np.where(quantized, blocks, ok.all(axis=1))


def _require_distinct_elements(table: TensorTable, rows: np.ndarray) -> None:
    """No two elements of a result share memory: else the order of writes would decide what is left."""
    c = Nodes(table, rows)
    gaps = ~c.contiguous
    if not gaps.any():
        return
    c = Nodes(table, rows[gaps])
    step = np.where(c.ne > 1, c.nb, np.iinfo(np.int64).max)
    span = c.nb * c.ne
    blocks = c.blck_size > 1
    step[:, 0] = np.where(blocks, c.type_size, step[:, 0])
    span[:, 0] = np.where(
        blocks, c.type_size * (c.ne[:, 0] // np.maximum(c.blck_size, 1)), span[:, 0]
    )
    order = np.argsort(step, axis=1, kind="stable")
    step = np.take_along_axis(step, order, axis=1)
    span = np.take_along_axis(span, order, axis=1)
    ok = (step[:, 1:] >= span[:, :-1]).all(axis=1) & (step[:, 0] >= c.type_size)
    c.require(ok, "nb", c.nb, "strides under which no two elements of the result overlap")


def _require_bounded_spread(table: TensorTable, rows: np.ndarray) -> None:
    """No source has far more elements than its bytes hold.

    Strides of 0 let a few bytes stand for 2^60 elements, which pass every check of bounds. Whoever converts or compares
    them would need memory and time that the peer never had to allocate. Sliding windows stay possible.
    """
    # Products in f64: they are compared with bounds far above their rounding.
    ne, nb = table.ne.astype(np.float64), table.nb
    size = TYPE_SIZE[table.type]
    full = ne.prod(axis=1) * size / np.maximum(BLCK_SIZE[table.type], 1)
    large = full > SPREAD_FREE
    if not large.any():
        return
    row = np.where(BLCK_SIZE[table.type] > 1, ne[:, 0] / BLCK_SIZE[table.type], ne[:, 0])
    spanned = size + np.maximum(row - 1, 0) * nb[:, 0] + ((ne - 1) * nb)[:, 1:].sum(axis=1)
    ok = ~large | (full <= MAX_SPREAD * spanned)
    if ok.all():
        return
    c = Nodes(table, rows)
    for slot in range(table.src.shape[1]):
        s = c.src(slot)
        c.require(
            ok[s.rows] | ~s.present,
            f"src[{slot}].nb",
            s.nb,
            f"strides under which it has at most {MAX_SPREAD} times the bytes that it occupies",
        )
