"""Older forms of nodes: how each is read as the newest, and how the newest is written in it.

A form says nothing of ops and dates; meanings.py and fork.py do. Where an older form cannot say what the newest does,
writing refuses: what would come out is not what was asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ggmlrpc_core.errors import BadGraph, UnsupportedOp, clip

WHERE = "GRAPH_COMPUTE"


@dataclass
class Rows:
    """The nodes of one op in a message, to be changed in place.

    Attributes:
        at: row numbers, int64 [n].
        op_params: int32 [all, 16].
        src: ids, uint64 [all, 10].
        tensors: the message's tensor list, read only.
        op, until, why: what the form belongs to, for sentences; see meanings.Meaning.
        dialect: name of the peer's dialect.
    """

    at: np.ndarray
    op_params: np.ndarray
    src: np.ndarray
    tensors: np.ndarray
    op: str = ""
    until: str = ""
    why: str = ""
    dialect: str = ""

    @cached_property
    def _row_of(self) -> dict[int, int]:
        ids = self.tensors["id"].tolist()
        return {tensor_id: row for row, tensor_id in reversed(list(enumerate(ids)))}

    def source(self, slot: int) -> np.ndarray:
        """The row of a source of each node, int64 [n]; -1 where there is none."""
        ids = self.src[self.at, slot].tolist()
        return np.array([self._row_of.get(i, -1) if i else -1 for i in ids], np.int64)

    def ne(self, rows: np.ndarray) -> np.ndarray:
        """Extents of some rows, int64 [n, 4]."""
        return self.tensors["ne"][rows].astype(np.int64)

    def slot(self, slot: int) -> np.ndarray:
        """One parameter of each node, int32 [n], a copy."""
        return self.op_params[self.at, slot]

    def put(self, slot: int, values: np.ndarray | int) -> None:
        """Set one parameter of each node."""
        self.op_params[self.at, slot] = values

    def require(self, ok: np.ndarray, what: str, got: np.ndarray, *, expected: str) -> None:
        """Refuse to write nodes for which `ok` is false.

        Raises:
            UnsupportedOp: with the first of them.
        """
        if ok.all():
            return
        first = int(np.argmin(ok))
        name = self.tensors["name"][self.at[first]].decode("utf-8", errors="replace")
        raise UnsupportedOp(
            WHERE,
            f"{what} of {self.op}",
            got[first],
            expected,
            context=f"{self.history}; node {clip(repr(name))}, protocol {self.dialect}",
        )

    @property
    def history(self) -> str:
        """When and why the form is another one."""
        return f"before {self.until} {self.why}" if self.until else self.why


Change = Callable[[Rows], None]


def keep(rows: Rows) -> None:
    """Both forms are the same here."""


@dataclass(frozen=True, slots=True)
class Form:
    """An older form.

    Attributes:
        read: gives nodes of the older form the newest one.
        write: gives nodes of the newest form the older one, or refuses.
        unsure: what is written to a peer that may know either form; None for the same as `write`.
        unsure_read: how nodes of such a peer are read; None for the same as `read`.
    """

    read: Change = keep
    write: Change = keep
    unsure: Change | None = None
    unsure_read: Change | None = None


def bits(value: float) -> int:
    """The int32 that holds a float."""
    return struct.unpack("<i", struct.pack("<f", value))[0]


def shown(column: np.ndarray, value: int) -> tuple[np.ndarray, str]:
    """A column and a value for a sentence; large values are floats, as written in op_params."""
    if abs(value) > 1 << 20 or (np.abs(column.astype(np.int64)) > 1 << 20).any():
        return column.view(np.float32), f"{np.int32(value).view(np.float32):g}"
    return column, str(value)


def only(slot: int, *values: int) -> Change:
    """Writing: a parameter that the older form does not have, or not with other values."""

    def change(rows: Rows) -> None:
        column = rows.slot(slot)
        got, first = shown(column, values[0])
        expected = " or ".join([first, *(str(v) for v in values[1:])])
        rows.require(np.isin(column, values), f"op_params[{slot}]", got, expected=expected)

    return change


def without_bit(slot: int, bit: int) -> Change:
    """Writing: a bit of a parameter that the older form does not have."""

    def change(rows: Rows) -> None:
        column = rows.slot(slot)
        rows.require(column & bit == 0, f"op_params[{slot}]", column, expected=f"without bit {bit}")

    return change


def without_source(slot: int) -> Change:
    """Writing: a source that the older form does not have."""

    def change(rows: Rows) -> None:
        ids = rows.src[rows.at, slot]
        rows.require(ids == 0, f"src[{slot}]", np.full(len(ids), "there"), expected="none")

    return change


def with_source(slot: int) -> Change:
    """Writing: a source that the older form always has."""

    def change(rows: Rows) -> None:
        ids = rows.src[rows.at, slot]
        rows.require(ids != 0, f"src[{slot}]", np.full(len(ids), "absent"), expected="a tensor")

    return change


def source_type(slot: int, types: Sequence[int], expected: str) -> Change:
    """Writing: types (canonical numbers) of a source that the older form takes; the node itself for slot -1."""

    def change(rows: Rows) -> None:
        at = rows.at if slot < 0 else rows.source(slot)
        got = rows.tensors["type"][at]
        what = "type" if slot < 0 else f"type of src[{slot}]"
        rows.require((at < 0) | np.isin(got, types), what, got, expected=expected)

    return change


def both(*changes: Change) -> Change:
    """One change after the other."""

    def change(rows: Rows) -> None:
        for one in changes:
            one(rows)

    return change


def newer(write: Change) -> Form:
    """The newest form can say more, but what both can say is said alike."""
    return Form(write=write)


def fill(slot: int, value: int) -> Form:
    """A slot that was not sent: `value` where it is 0. Older peers ignore it, so it is sent to them as it is."""

    def read(rows: Rows) -> None:
        column = rows.slot(slot)
        rows.put(slot, np.where(column == 0, value, column))

    return Form(read, only(slot, value))


def clear(*slots: int) -> Form:
    """Slots that held something that no longer exists; zero means nothing to older peers either."""

    def read(rows: Rows) -> None:
        rows.op_params[rows.at[:, None], list(slots)] = 0

    return Form(read, both(*(only(slot, 0) for slot in slots)))


def replace(slot: int, old: int, new: int) -> Form:
    """A value that is written differently; a peer that may know either gets the newer one."""

    def swap(before: int, after: int) -> Change:
        def change(rows: Rows) -> None:
            column = rows.slot(slot)
            rows.put(slot, np.where(column == before, after, column))

        return change

    return Form(swap(old, new), swap(new, old), keep)


def move(old_slot: int, new_slot: int, values: tuple[int, ...]) -> Form:
    """A parameter that moved; only these values, which cannot mean what is in the old slot now."""

    def read(rows: Rows) -> None:
        column = rows.slot(old_slot)
        moved = np.isin(column, values)
        rows.op_params[rows.at[moved], new_slot] = column[moved]
        rows.op_params[rows.at[moved], old_slot] = 0

    def write(rows: Rows) -> None:
        only(old_slot, 0)(rows)
        rows.put(old_slot, rows.slot(new_slot))
        rows.put(new_slot, 0)

    return Form(read, write, only(old_slot, 0))


def reorder(*order: int) -> Form:
    """Sources in another order: new source i is old source order[i]. Not to be guessed for a peer of either side."""
    back = [order.index(i) for i in range(len(order))]

    def permute(how: Sequence[int]) -> Change:
        def change(rows: Rows) -> None:
            rows.src[rows.at, : len(how)] = rows.src[rows.at[:, None], list(how)]

        return change

    return Form(permute(order), permute(back), never, _either)


def never(rows: Rows) -> None:
    """Refuse to write any such node.

    Raises:
        UnsupportedOp: always.
    """
    no = np.zeros(len(rows.at), bool)
    rows.require(no, "form", np.full(len(no), "the newest"), expected="one that the peer knows")


def _never_read(rows: Rows) -> None:
    raise BadGraph(
        WHERE,
        "op",
        f"{rows.op} as before {rows.until}",
        f"the form of {rows.until}: {rows.why}",
    )


def _either(rows: Rows) -> None:
    raise BadGraph(
        WHERE,
        "op",
        f"{rows.op} of a peer from about {rows.until}",
        f"one whose form is known: before that day {rows.why}",
    )


NEITHER = Form(_never_read, never)
"""An older form that cannot be told in the newest, nor the other way round."""


def unless_odd(slot: int) -> Form:
    """A form that differs only where a parameter is odd, and then cannot be told."""

    def read(rows: Rows) -> None:
        if (rows.slot(slot) % 2).any():
            _never_read(rows)

    def write(rows: Rows) -> None:
        column = rows.slot(slot)
        rows.require(column % 2 == 0, f"op_params[{slot}]", column, expected="even")

    return Form(read, write)


# --- forms of one op each


def _read_concat(rows: Rows) -> None:
    """Dimension 2, where it was not sent; a client that sent 0 has a longer dimension 0."""
    source = rows.source(0)
    same = rows.ne(rows.at)[:, 0] == rows.ne(source)[:, 0]
    column = rows.slot(0)
    rows.put(0, np.where((column == 0) & (same | (source < 0)), 2, column))


CONCAT_IN_2 = Form(_read_concat, only(0, 2))
"""CONCAT along dimension 2 only."""


def _write_factor(rows: Rows) -> None:
    source = rows.source(0)
    new, old = rows.ne(rows.at), np.maximum(rows.ne(source), 1)
    factor = new[:, 0] // old[:, 0]
    scaled = old * np.stack([factor, factor, factor * 0 + 1, factor * 0 + 1], axis=1)
    ok = (source >= 0) & (scaled == new).all(axis=1)
    got = np.array([str(list(map(int, one))) for one in new])
    rows.require(ok, "ne", got, expected="src[0] times one whole number in dimensions 0 and 1")
    rows.put(0, factor)


UPSCALE_FACTOR = Form(lambda rows: rows.put(0, 0), _write_factor)
"""UPSCALE by a whole number, which was sent."""


def _grown(rows: Rows) -> np.ndarray:
    """How much longer each dimension is than source 0, int64 [n, 4]; 0 where there is none."""
    source = rows.source(0)
    grown = rows.ne(rows.at) - rows.ne(source)
    grown[source < 0] = 0
    return grown


def _read_pads(rows: Rows) -> None:
    silent = ~rows.op_params[rows.at, :8].any(axis=1)
    at = rows.at[silent]
    right = np.clip(_grown(rows)[silent], 0, 2**31 - 1)
    for dim in range(4):
        rows.op_params[at, 2 * dim + 1] = right[:, dim]


def _write_pads(rows: Rows) -> None:
    sent = rows.op_params[rows.at, :8].astype(np.int64)
    wanted = np.zeros_like(sent)
    wanted[:, 1::2] = _grown(rows)
    got = np.array([str(one.tolist()) for one in sent])
    expected = "padding on the right sides only"
    rows.require((sent == wanted).all(axis=1), "op_params[0:8]", got, expected=expected)
    rows.op_params[rows.at, :8] = 0


PAD_RIGHT = Form(_read_pads, _write_pads)
"""PAD on the right sides only, told by the extents alone."""


def mask_rows(padding: int) -> Change:
    """Writing: rows of the mask of FLASH_ATTN_EXT, rounded up to a multiple."""

    def change(rows: Rows) -> None:
        query, mask = rows.source(0), rows.source(3)
        needed = -(-rows.ne(query)[:, 1] // padding) * padding
        have = rows.ne(mask)[:, 1]
        ok = (mask < 0) | (query < 0) | (have >= needed)
        rows.require(ok, "ne[1] of src[3]", have, expected=f"a multiple of {padding}")

    return change


def _one_snapshot(rows: Rows) -> None:
    state = rows.source(5)
    have = rows.ne(state)[:, 1]
    rows.require((state < 0) | (have == 1), "ne[1] of src[5]", have, expected="1")


SNAPSHOT_EXTENT = newer(_one_snapshot)
"""GATED_DELTA_NET that takes its number of snapshots from extent 1 of the state."""
