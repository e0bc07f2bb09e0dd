"""Numbers and op_params of a dialect to canonical ones, and back.

Canonical numbers are those of ggml.numbering.NEWEST, canonical op_params have the newest meaning. A number that the
newest state does not know becomes -1, which no later check accepts.

REWRITES states every slot of op_params that an older dialect leaves to an implied value, as data.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.version import ProtocolVersion, V

UNKNOWN = -1


def _bits(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A slot that clients before `until` send as 0 although it means `value`.

    Source: docs/reference/protocol, op_params that changed meaning.
    """

    op: str
    until: ProtocolVersion
    slot: int
    value: int


REWRITES = (Rewrite("DSV4_HC_PRE", V(7, 0), 0, _bits(1.0)),)


def _lut(ours: Mapping[str, int], theirs: Mapping[str, int]) -> np.ndarray:
    """Array: number of the dialect -> canonical number, UNKNOWN in the holes."""
    lut = np.full(max(theirs.values(), default=-1) + 2, UNKNOWN, np.int64)
    for name, number in theirs.items():
        lut[number] = ours.get(name, UNKNOWN)
    return lut


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
        self.rewrites = tuple(r for r in REWRITES if dialect.version < r.until)
        # The same as plain lists, for one tensor at a time: every SET and GET of a token has one.
        self._type_list, self._op_list = self.types.tolist(), self.ops.tolist()
        self._special = {NEWEST.ops[r.op] for r in self.rewrites}
        self._special |= {NEWEST.ops["UNARY"], NEWEST.ops["GLU"]}

    def one(
        self, wire_type: int, wire_op: int, op_params: tuple[int, ...]
    ) -> tuple[int, int, tuple[int, ...]]:
        """Canonical (type, op, op_params) of one tensor; the same as `columns` for a row."""
        ggml_type = self._type_list[wire_type] if wire_type < len(self._type_list) else UNKNOWN
        op = self._op_list[wire_op] if wire_op < len(self._op_list) else UNKNOWN
        if op in self._special:
            row = np.zeros(1, [("type", "<u4"), ("op", "<u4"), ("op_params", "<i4", (16,))])
            row["op"], row["op_params"] = wire_op, op_params
            op_params = tuple(self.columns(row)[2][0].tolist())
        return ggml_type, op, op_params

    def columns(self, tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Canonical (type, op, op_params) of a structured array of rpc_tensor.

        Returns:
            int64 [n], int64 [n], int32 [n, 16].
        """
        types = _look(self.types, tensors["type"])
        ops = _look(self.ops, tensors["op"])
        params = np.array(tensors["op_params"], np.int32)
        for op, lut in (("UNARY", self.unary), ("GLU", self.glu)):
            rows = np.flatnonzero(ops == NEWEST.ops[op])
            if rows.size:
                params[rows, 0] = _look(lut, params[rows, 0])
        for rewrite in self.rewrites:
            rows = np.flatnonzero(ops == NEWEST.ops[rewrite.op])
            if rows.size:
                params[rows, rewrite.slot] = rewrite.value
        return types, ops, params

    def to_dialect(self, tensors: np.ndarray) -> None:
        """Turn canonical numbers in a structured array into the dialect's, in place.

        Raises:
            KeyError: the dialect lacks an op, function or type that is used.
        """
        functions = {op: np.flatnonzero(tensors["op"] == NEWEST.ops[op]) for op in ("UNARY", "GLU")}
        for op, rows in functions.items():
            if rows.size:
                tensors["op_params"][rows, 0] = self._need(op, tensors["op_params"][rows, 0])
        tensors["op"] = self._need("op", tensors["op"])
        tensors["type"] = self._need("type", tensors["type"])

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
