"""What nodes of ik_llama.cpp mean, as far as it is known: the fork's own forms become the newest of upstream.

Only the ops below were compared with upstream (state of 2026-08-15). Any other op of both is taken as it is when it has
no parameter, was there before the fork and never changed its form; else it is refused by name. Ops that only the fork
has are refused as well, because they have no canonical number.

Source: docs/reference/protocol, ik_llama.cpp.
"""

from __future__ import annotations

import numpy as np

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.ggml.numbering import NEWEST, numbering
from ggmlrpc_core.wire.forms import (
    PAD_RIGHT,
    Form,
    Rows,
    both,
    clear,
    keep,
    mask_rows,
    newer,
    only,
    replace,
    unless_odd,
)
from ggmlrpc_core.wire.meanings import F32_PREC, F32_PREC_OLD, MEANINGS, Meaning

COMPARED = frozenset(
    {"ROPE", "FLASH_ATTN_EXT", "MUL_MAT", "SCALE", "GROUP_NORM", "CONCAT", "GLU", "SET_ROWS", "SOFT_MAX"}
    | {"PAD", "TIMESTEP_EMBEDDING"}
)  # fmt: skip
"""Ops whose parameters and sources were compared; what differs is in FORK_MEANINGS."""

_VIEWS = frozenset({"NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"})
"""Their parameters say nothing that extents, strides and addresses do not."""

_CHANGED = frozenset(m.op for m in MEANINGS if m.form.read is not keep)
_UNCHANGED = frozenset(numbering("none", "2024-05-14").ops) - _CHANGED

_NEVER = ""
"""The date of newer forms, which never came."""

_COMPARED_FORM = "one whose form was compared with upstream"


def _known(rows: Rows) -> np.ndarray:
    """Which nodes of an op that was not compared cannot mean anything else, bool [n]."""
    if rows.op not in _UNCHANGED:
        return np.zeros(len(rows.at), bool)
    first = 1 if rows.op == "UNARY" else 0  # its function is translated by itself
    return np.asarray(~rows.op_params[rows.at, first:].any(axis=1))


def _read_known(rows: Rows) -> None:
    if not _known(rows).all():
        raise BadGraph("GRAPH_COMPUTE", "op", f"{rows.op} of ik_llama.cpp", _COMPARED_FORM)


def _write_known(rows: Rows) -> None:
    form = np.full(len(rows.at), "unknown")
    rows.require(_known(rows), "form", form, expected=_COMPARED_FORM)


def _read_even(rows: Rows) -> None:
    if (rows.slot(0) % 2).any():
        raise BadGraph(
            "GRAPH_COMPUTE",
            "op",
            "TIMESTEP_EMBEDDING of ik_llama.cpp",
            "an even dim: an odd one gives one column more there",
        )


def _read_mode(rows: Rows) -> None:
    if rows.slot(4).any():
        raise BadGraph("GRAPH_COMPUTE", "op", "FLASH_ATTN_EXT of ik_llama.cpp", "mode 0 in slot 4")


def _write_mode(rows: Rows) -> None:
    rows.put(4, 0)  # upstream's bound there is a hint, which may be left out


_PRECISION_ONLY = both(only(0, 0, F32_PREC), only(1, 0), only(3, 0))
_ODD = "an odd dim gives one column more in ik_llama.cpp"
_F32_IS_1 = "precision F32 is 1 in ik_llama.cpp"

FORK_MEANINGS: tuple[Meaning, ...] = (
    Meaning("ROPE", _NEVER, clear(15), "there is no offset in slot 15 in ik_llama.cpp"),
    Meaning("FLASH_ATTN_EXT", _NEVER, Form(_read_mode, _write_mode), "slot 4 is a mode of ik_llama.cpp"),
    Meaning("FLASH_ATTN_EXT", _NEVER, newer(mask_rows(16)), "ik_llama.cpp reads the mask in groups of rows"),
    Meaning("FLASH_ATTN_EXT", _NEVER, replace(3, F32_PREC_OLD, F32_PREC), _F32_IS_1),
    Meaning("FLASH_ATTN_EXT", _NEVER, newer(only(3, 0, F32_PREC)), _F32_IS_1),
    Meaning("MUL_MAT", _NEVER, replace(0, F32_PREC_OLD, F32_PREC), _F32_IS_1),
    Meaning("MUL_MAT", _NEVER, newer(_PRECISION_ONLY), _F32_IS_1),
    Meaning("PAD", _NEVER, PAD_RIGHT, "ik_llama.cpp sends no paddings, all is on the right"),
    Meaning("PAD", _NEVER, newer(only(8, 0)), "padding is never circular in ik_llama.cpp"),
    Meaning("TIMESTEP_EMBEDDING", _NEVER, Form(_read_even, unless_odd(0).write), _ODD),
    *(
        Meaning(op, _NEVER, Form(_read_known, _write_known), "ik_llama.cpp may have another form")
        for op in NEWEST.ops
        if op not in COMPARED | _VIEWS
    ),
)  # fmt: skip
"""Every rule for the fork's nodes; they hold for all of its states."""
