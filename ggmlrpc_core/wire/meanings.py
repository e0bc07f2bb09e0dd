"""Sources and op_params that changed meaning, as data, and how each older form becomes the newest.

A row of MEANINGS applies to clients of states that shipped before its date. Where a state lasts over the date, the old
form is recognised by itself (a slot that is zero, a source that is missing), so a row never harms a newer client.

Source: docs/reference/protocol, sources and op_params that changed meaning.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ggmlrpc_core.errors import BadGraph


@dataclass(slots=True)
class Rows:
    """The nodes of one op in a message, to be changed in place.

    Attributes:
        at: row numbers, int64 [n].
        op_params: int32 [all, 16].
        src: ids, uint64 [all, 10].
        tensors: the message's tensor list, read only.
    """

    at: np.ndarray
    op_params: np.ndarray
    src: np.ndarray
    tensors: np.ndarray


Change = Callable[[Rows], None]


@dataclass(frozen=True, slots=True)
class Meaning:
    """One change: nodes of `op` from clients before `until` (YYYY-MM-DD) are given the newest form by `change`."""

    op: str
    until: str
    change: Change
    what: str


def bits(value: float) -> int:
    """The int32 that holds a float."""
    return struct.unpack("<i", struct.pack("<f", value))[0]


def fill(slot: int, value: int) -> Change:
    """A slot that was not sent: `value` where it is 0."""

    def change(rows: Rows) -> None:
        column = rows.op_params[rows.at, slot]
        rows.op_params[rows.at, slot] = np.where(column == 0, value, column)

    return change


def clear(*slots: int) -> Change:
    """Slots that held something that no longer exists."""

    def change(rows: Rows) -> None:
        rows.op_params[rows.at[:, None], list(slots)] = 0

    return change


def replace(slot: int, old: int, new: int) -> Change:
    """A value that is written differently now."""

    def change(rows: Rows) -> None:
        column = rows.op_params[rows.at, slot]
        rows.op_params[rows.at, slot] = np.where(column == old, new, column)

    return change


def move(old_slot: int, new_slot: int, values: tuple[int, ...]) -> Change:
    """A parameter that moved; only these values, which cannot mean what is in the old slot now."""

    def change(rows: Rows) -> None:
        column = rows.op_params[rows.at, old_slot]
        moved = np.isin(column, values)
        rows.op_params[rows.at[moved], new_slot] = column[moved]
        rows.op_params[rows.at[moved], old_slot] = 0

    return change


def reorder(*order: int) -> Change:
    """Sources in another order: new source i is old source order[i]."""

    def change(rows: Rows) -> None:
        rows.src[rows.at, : len(order)] = rows.src[rows.at[:, None], list(order)]

    return change


def pad_right(rows: Rows) -> None:
    """No paddings were sent: the right side is what the result has more than source 0."""
    row_of = {
        tensor_id: i for i, tensor_id in reversed(list(enumerate(rows.tensors["id"].tolist())))
    }
    for row in rows.at.tolist():
        source = row_of.get(int(rows.src[row, 0]))
        if source is None or rows.op_params[row, :8].any():
            continue
        grown = rows.tensors["ne"][row].astype(np.int64) - rows.tensors["ne"][source].astype(
            np.int64
        )
        rows.op_params[row, 1:8:2] = np.clip(grown, 0, 2**31 - 1)


def refuse(op: str, until: str, why: str, *, odd_slot: int | None = None) -> Change:
    """An older form that cannot be told in the newest; with odd_slot only where that parameter is odd."""

    def change(rows: Rows) -> None:
        if odd_slot is None or (rows.op_params[rows.at, odd_slot] % 2).any():
            raise BadGraph(
                "GRAPH_COMPUTE", "op", f"{op} as before {until}", f"the form of {until}: {why}"
            )

    return change


def _refused(op: str, until: str, why: str, *, odd_slot: int | None = None) -> Meaning:
    return Meaning(op, until, refuse(op, until, why, odd_slot=odd_slot), why)


F32_PREC_OLD, F32_PREC = 1, 10

MEANINGS = (
    Meaning("UPSCALE", "2024-05-15", clear(0), "slot 0 was an integer factor; the result's shape decides"),
    Meaning("CONCAT", "2024-05-28", fill(0, 2), "the dimension was always 2"),
    Meaning("ROPE", "2024-06-05", clear(3, 11, 12), "slot 3 was n_ctx, 11 and 12 were xpos"),
    Meaning("ROPE_BACK", "2024-06-05", clear(3, 11, 12), "slot 3 was n_ctx, 11 and 12 were xpos"),
    Meaning("GROUP_NORM", "2024-08-06", fill(1, bits(1e-6)), "eps was fixed at 1e-6"),
    _refused("SSM_CONV", "2024-08-21", "sources and result were reorganised"),
    Meaning("FLASH_ATTN_EXT", "2024-08-24", move(2, 3, (F32_PREC_OLD,)), "slot 2 was the precision, now the softcap"),
    _refused("OPT_STEP_ADAMW", "2024-11-16", "parameters became a tensor, moments became sources"),
    Meaning("SOFT_MAX_BACK", "2025-01-16", fill(0, bits(1.0)), "the scale was not sent and was 1"),
    Meaning("SILU_BACK", "2025-01-16", reorder(1, 0), "the gradient came second"),
    Meaning("RMS_NORM_BACK", "2025-01-16", reorder(1, 0), "the gradient came second"),
    Meaning("IM2COL_BACK", "2025-01-16", reorder(1, 0), "the gradient came second"),
    Meaning("CROSS_ENTROPY_LOSS_BACK", "2025-01-16", reorder(2, 0, 1), "the gradient came third"),
    Meaning("MUL_MAT", "2025-04-28", replace(0, F32_PREC_OLD, F32_PREC), "precision F32 was 1"),
    Meaning("FLASH_ATTN_EXT", "2025-04-28", replace(3, F32_PREC_OLD, F32_PREC), "precision F32 was 1"),
    _refused("SSM_SCAN", "2025-07-02", "ids became source 6, heads came in"),
    Meaning("PAD", "2025-09-04", pad_right, "no paddings were sent; all was on the right"),
    _refused("TIMESTEP_EMBEDDING", "2025-09-16", "an odd dim gave one column more", odd_slot=0),
    Meaning("GATED_DELTA_NET", "2026-06-10", fill(0, 1), "the number of snapshots was not sent"),
    Meaning("SSM_SCAN", "2026-08-14", fill(0, 1), "the number of snapshots was not sent"),
    Meaning("DSV4_HC_PRE", "2026-09-11", fill(0, bits(1.0)), "the scale was not sent and was 1"),
)  # fmt: skip
"""Every change of meaning that the newest form does not read by itself, oldest first."""
