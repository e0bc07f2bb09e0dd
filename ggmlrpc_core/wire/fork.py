"""What nodes of ik_llama.cpp mean, as far as it is known: the fork's own forms become the newest of upstream.

Only the ops below were compared with upstream (state of 2026-08-15). Any other op of both is taken as it is when it has
no parameter, was there before the fork and never changed its form; else it is refused by name. Ops that only the fork
has are refused as well, because they have no canonical number.

Source: docs/reference/protocol, ik_llama.cpp.
"""

from __future__ import annotations

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.ggml.numbering import NEWEST, numbering
from ggmlrpc_core.wire.meanings import (
    F32_PREC,
    F32_PREC_OLD,
    MEANINGS,
    Change,
    Meaning,
    Rows,
    clear,
    pad_right,
    replace,
)

COMPARED = frozenset(
    {"ROPE", "FLASH_ATTN_EXT", "MUL_MAT", "SCALE", "GROUP_NORM", "CONCAT", "GLU", "SET_ROWS", "SOFT_MAX"}
    | {"PAD", "TIMESTEP_EMBEDDING"}
)  # fmt: skip
"""Ops whose parameters and sources were compared; what differs is in FORK_MEANINGS."""

_VIEWS = frozenset({"NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"})
"""Their parameters say nothing that extents, strides and addresses do not."""

_UNCHANGED = frozenset(numbering("none", "2024-05-14").ops) - {m.op for m in MEANINGS}

_FOREVER = "9999"


def _not_compared(op: str) -> Change:
    def change(rows: Rows) -> None:
        first = 1 if op == "UNARY" else 0  # its function has been translated
        if op not in _UNCHANGED or rows.op_params[rows.at, first:].any():
            raise BadGraph(
                "GRAPH_COMPUTE",
                "op",
                f"{op} of ik_llama.cpp",
                "one whose form was compared with upstream",
            )

    return change


def _odd_timestep(rows: Rows) -> None:
    if (rows.op_params[rows.at, 0] % 2).any():
        raise BadGraph(
            "GRAPH_COMPUTE",
            "op",
            "TIMESTEP_EMBEDDING of ik_llama.cpp",
            "an even dim: an odd one gives one column more there",
        )


def _mode_of_attention(rows: Rows) -> None:
    if rows.op_params[rows.at, 4].any():
        raise BadGraph("GRAPH_COMPUTE", "op", "FLASH_ATTN_EXT of ik_llama.cpp", "mode 0 in slot 4")


FORK_MEANINGS: tuple[Meaning, ...] = (
    Meaning("ROPE", _FOREVER, clear(15), "there is no offset in slot 15"),
    Meaning("FLASH_ATTN_EXT", _FOREVER, _mode_of_attention, "slot 4 is a mode of the fork"),
    Meaning("FLASH_ATTN_EXT", _FOREVER, replace(3, F32_PREC_OLD, F32_PREC), "precision F32 is 1"),
    Meaning("MUL_MAT", _FOREVER, replace(0, F32_PREC_OLD, F32_PREC), "precision F32 is 1"),
    Meaning("PAD", _FOREVER, pad_right, "no paddings are sent; all is on the right"),
    Meaning("TIMESTEP_EMBEDDING", _FOREVER, _odd_timestep, "an odd dim gives one column more"),
    *(
        Meaning(op, _FOREVER, _not_compared(op), "not compared")
        for op in NEWEST.ops
        if op not in COMPARED | _VIEWS
    ),
)
"""Every rule for the fork's nodes; they hold for all of its states."""
