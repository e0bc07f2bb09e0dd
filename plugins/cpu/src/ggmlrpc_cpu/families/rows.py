"""GET_ROWS and SET_ROWS (kernels/rows.py)."""

from __future__ import annotations

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_cpu.families.layout import f32_rows, source, tight_rows
from ggmlrpc_cpu.step import NS_PER_BYTE, Context, Step, steps_of

ENCODED = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
"""Types with a row function `from_f32:`."""
NO_DECODER = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")
"""Types without a row function `to_f32:`."""
COLUMNS = 256
"""Columns of SET_ROWS that are one work item; a multiple of every block size here."""


@steps_of("GET_ROWS", layout_only=True)
def get_rows(node: Tensor, context: Context) -> list[Step] | None:
    """Copy rows of F32 and I32, decode the others."""
    a = source(node, 0)
    if a is None or not tight_rows(a) or not tight_rows(node):
        return None
    cost = 2 * node.nbytes * NS_PER_BYTE
    if a.type is node.type:
        return [Step("GET_ROWS", node, args=(4 * node.ne[0],), cost=cost)]
    if a.type.name in NO_DECODER:
        return None
    return [Step("GET_ROWS", node, row_functions=(f"to_f32:{a.type}",), args=(0,), cost=2 * cost)]


@steps_of("SET_ROWS", layout_only=True)
def set_rows(node: Tensor, context: Context) -> list[Step] | None:
    """Encode F32 rows into the node."""
    a, ids = source(node, 0), source(node, 1)
    if a is None or ids is None or not f32_rows(a) or not tight_rows(node):
        return None
    if node.type.name not in ENCODED:
        return None
    wide = int(ids.type.name == "I64")
    return [
        Step(
            "SET_ROWS",
            node,
            row_functions=(f"from_f32:{node.type}",),
            args=(wide, COLUMNS, node.type.row_size(COLUMNS)),
            cost=2 * a.nbytes * NS_PER_BYTE,
        )
    ]
