"""Numbers and op_params of a dialect to canonical ones, and back.

Canonical numbers are those of ggml.numbering.NEWEST, canonical op_params have the newest meaning. A number that the
newest state does not know becomes -1, which no later check accepts.

What changed its meaning is in meanings.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.fork import FORK_MEANINGS
from ggmlrpc_core.wire.forms import Change, Rows, keep
from ggmlrpc_core.wire.meanings import MEANINGS, Meaning

UNKNOWN = -1
MAX_SRC = 10


def _lut(ours: Mapping[str, int], theirs: Mapping[str, int]) -> np.ndarray:
    """Array: number of the dialect -> canonical number, UNKNOWN in the holes."""
    lut = np.full(max(theirs.values(), default=-1) + 2, UNKNOWN, np.int64)
    for name, number in theirs.items():
        lut[number] = ours.get(name, UNKNOWN)
    return lut


class Columns(NamedTuple):
    """What a dialect may write differently, in canonical form.

    Attributes:
        type, op: int64 [n].
        op_params: int32 [n, 16].
        src: ids, uint64 [n, 10].
    """

    type: np.ndarray
    op: np.ndarray
    op_params: np.ndarray
    src: np.ndarray


class Translation:
    """Look-up tables between one dialect and canonical numbers.

    Attributes:
        ops, types, unary, glu: int64 arrays, dialect number -> canonical; the last element is UNKNOWN.
    """

    def __init__(self, dialect: Dialect) -> None:
        n = dialect.numbering
        self.ops = _lut(NEWEST.ops, n.ops)
        self.types = _lut(NEWEST.types, n.types)
        self.unary = _lut(NEWEST.unary, n.unary)
        self.glu = _lut(NEWEST.glu, n.glu)
        self._back = {
            "op": _lut(n.ops, NEWEST.ops),
            "type": _lut(n.types, NEWEST.types),
            "UNARY": _lut(n.unary, NEWEST.unary),
            "GLU": _lut(n.glu, NEWEST.glu),
        }
        self._dialect = dialect
        self.meanings = (
            FORK_MEANINGS
            if dialect.fork
            else tuple(m for m in MEANINGS if m.applies(dialect.shipped, dialect.last))
        )
        self._reads = [(m, self._reading(m)) for m in self.meanings if m.form.read is not keep]
        self._writes = [(m, self._writing(m)) for m in reversed(self.meanings)]
        self._names = n
        # The same as plain lists, for one tensor at a time: every SET and GET of a token has one.
        self._type_list, self._op_list = self.types.tolist(), self.ops.tolist()
        self._functions = {NEWEST.ops["UNARY"]: self.unary, NEWEST.ops["GLU"]: self.glu}

    def op_name(self, number: int) -> str | int:
        """What the dialect calls an op; its number when it has none."""
        return next((name for name, known in self._names.ops.items() if known == number), number)

    def type_name(self, number: int) -> str | int:
        """What the dialect calls a type; its number when it has none."""
        return next((name for name, known in self._names.types.items() if known == number), number)

    def one(
        self, wire_type: int, wire_op: int, op_params: tuple[int, ...]
    ) -> tuple[int, int, tuple[int, ...]]:
        """Canonical (type, op, op_params) of one tensor outside a graph, where only numbers matter."""
        ggml_type = self._type_list[wire_type] if wire_type < len(self._type_list) else UNKNOWN
        op = self._op_list[wire_op] if wire_op < len(self._op_list) else UNKNOWN
        if op in self._functions:
            function = int(_look(self._functions[op], np.array(op_params[:1]))[0])
            op_params = (function, *op_params[1:])
        return ggml_type, op, op_params

    def columns(self, tensors: np.ndarray) -> Columns:
        """Canonical columns of a structured array of rpc_tensor.

        Raises:
            BadGraph: a node has an older form that cannot be told in the newest.
        """
        ops = _look(self.ops, tensors["op"])
        params = np.array(tensors["op_params"], np.int32)
        src = np.array(tensors["src"][:, :MAX_SRC], np.uint64)
        if tensors["src"][:, MAX_SRC:].any():
            ops = np.where(
                tensors["src"][:, MAX_SRC:].any(axis=1), UNKNOWN, ops
            )  # no op of ours has as many
        for number, lut in self._functions.items():
            rows = np.flatnonzero(ops == number)
            if rows.size:
                params[rows, 0] = _look(lut, params[rows, 0])
        self._change(self._reads, ops, params, src=src, tensors=tensors)
        return Columns(_look(self.types, tensors["type"]), ops, params, src)

    def graph_to_dialect(self, tensors: np.ndarray) -> None:
        """Turn the canonical tensors of a graph into the dialect's, in place: forms and numbers.

        Raises:
            UnsupportedOp: a node cannot be said in the form that the dialect has.
            KeyError: the dialect lacks an op, function or type that is used.
        """
        params, src = tensors["op_params"], tensors["src"]
        self._change(self._writes, tensors["op"], params, src=src, tensors=tensors)
        self.to_dialect(tensors)

    def to_dialect(self, tensors: np.ndarray) -> None:
        """Turn canonical numbers in a structured array into the dialect's, in place; outside graphs no more is needed.

        Raises:
            KeyError: the dialect lacks an op, function or type that is used.
        """
        functions = {op: np.flatnonzero(tensors["op"] == NEWEST.ops[op]) for op in ("UNARY", "GLU")}
        for op, rows in functions.items():
            if rows.size:
                tensors["op_params"][rows, 0] = self._need(op, tensors["op_params"][rows, 0])
        tensors["op"] = self._need("op", tensors["op"])
        tensors["type"] = self._need("type", tensors["type"])

    def _reading(self, meaning: Meaning) -> Change:
        """What is done to nodes of a meaning that were received."""
        form = meaning.form
        return form.read if self._sure(meaning) or form.unsure_read is None else form.unsure_read

    def _writing(self, meaning: Meaning) -> Change:
        """What is done to nodes of a meaning before they are sent."""
        form = meaning.form
        return form.write if self._sure(meaning) or form.unsure is None else form.unsure

    def _sure(self, meaning: Meaning) -> bool:
        return bool(self._dialect.fork) or meaning.certain(self._dialect.last)

    def _change(
        self,
        changes: Sequence[tuple[Meaning, Change]],
        ops: np.ndarray,
        params: np.ndarray,
        *,
        src: np.ndarray,
        tensors: np.ndarray,
    ) -> None:
        """Apply changes of meanings to the nodes of their ops, in place."""
        for meaning, change in changes:
            rows = np.flatnonzero(ops == NEWEST.ops[meaning.op])
            if rows.size:
                about = (meaning.op, meaning.until, meaning.what, self._dialect.name)
                change(Rows(rows, params, src, tensors, *about))

    def _need(self, table: str, numbers: np.ndarray) -> np.ndarray:
        translated = _look(self._back[table], numbers)
        if (translated == UNKNOWN).any():
            lost = int(numbers[np.argmin(translated)])
            names = {
                "op": NEWEST.ops,
                "type": NEWEST.types,
                "UNARY": NEWEST.unary,
                "GLU": NEWEST.glu,
            }[table]
            raise KeyError(next((name for name, number in names.items() if number == lost), lost))
        return translated


def _look(lut: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """lut[numbers], UNKNOWN outside the table; unsigned and negative numbers alike."""
    wide = numbers.astype(np.int64)
    inside = (wide >= 0) & (wide < len(lut))
    return lut[np.where(inside, wide, len(lut) - 1)]


@cache
def translation(dialect: Dialect) -> Translation:
    """The tables of a dialect, made once."""
    return Translation(dialect)
