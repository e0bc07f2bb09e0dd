"""Whether nodes look like what a real client builds: stricter than what may run, and never a reason to refuse.

Used to tell numberings of ops apart: under a wrong one nodes have sources and parameters that their op does not have,
and views that do not show what they are views of. A wrong reading rarely passes the rules of validate.py, and hardly
ever these.
"""

from __future__ import annotations

import numpy as np

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.table import Nodes, TensorTable
from ggmlrpc_core.graph.tensor import N_OP_PARAMS
from ggmlrpc_core.ops.declare import OPS, Op

_REORDERS = ("PERMUTE", "TRANSPOSE")
_VIEWS = ("RESHAPE", "VIEW", *_REORDERS)
_FUNCTIONS = {"UNARY": 0, "GLU": 0}
"""Slots that hold the number of a function."""


def plausible(table: TensorTable, rows: np.ndarray) -> bool:
    """Whether every node looks like one of its op.

    Args:
        table: every tensor of the graph.
        rows: int64 [n], the nodes, views as well.
    """
    names = {number: name for name, number in NEWEST.ops.items()}
    for number in np.unique(table.op[rows]).tolist():
        c = Nodes(table, rows[table.op[rows] == number])
        name = names.get(number, "")
        if name == "NONE":
            good = ~_has_sources(table, c.rows, 0)
        elif name in _VIEWS:
            good = _is_view(table, c, name)
        elif name in OPS:
            good = _has_only_what_is_declared(table, c, OPS[name])
        else:
            return False
        if not good.all():
            return False
    return True


def _has_sources(table: TensorTable, rows: np.ndarray, first: int) -> np.ndarray:
    """bool [n]: a source in slot `first` or above."""
    return np.any(table.src[rows, first:] >= 0, axis=1)


def _is_view(table: TensorTable, c: Nodes, name: str) -> np.ndarray:
    """bool [n]: one source of the same type, which it shows the memory of."""
    shown = c.src(0)
    good = shown.present & (table.view_src[c.rows] >= 0) & (shown.type == c.type)
    good &= ~_has_sources(table, c.rows, 1)
    if name == "RESHAPE":
        good &= shown.nelements == c.nelements
    if name in _REORDERS:
        good &= (np.sort(shown.ne, axis=1) == np.sort(c.ne, axis=1)).all(axis=1)
    return good


def _has_only_what_is_declared(table: TensorTable, c: Nodes, op: Op) -> np.ndarray:
    """bool [n]: no source and no parameter that the op does not have."""
    good = ~_has_sources(table, c.rows, len(op.sources))
    free = np.ones(N_OP_PARAMS, bool)
    free[[param.slot for param in op.params]] = False
    if op.name in _FUNCTIONS:
        free[_FUNCTIONS[op.name]] = False
    return good & ~table.op_params[c.rows][:, free].any(axis=1)
