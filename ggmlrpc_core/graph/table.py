"""Many tensors as columns, for checks that cost a few array passes for a whole graph.

`TensorTable` holds every tensor of a graph message; `Nodes` is a selection of rows that share one op and
is what the shape rule of that op is written over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from ggmlrpc_core.errors import BadGraph, clip
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import MAX_SRC, Tensor

N_TYPE_IDS = max(t.id for t in TYPES.values()) + 1
BLCK_SIZE = np.zeros(N_TYPE_IDS, np.int64)
TYPE_SIZE = np.zeros(N_TYPE_IDS, np.int64)
TYPE_NAME = np.full(N_TYPE_IDS, "", dtype=object)
for _t in TYPES.values():
    BLCK_SIZE[_t.id], TYPE_SIZE[_t.id], TYPE_NAME[_t.id] = _t.blck_size, _t.type_size, _t.name


@cache
def type_mask(names: tuple[str, ...]) -> np.ndarray:
    """bool by type id: whether the type is one of the names."""
    mask = np.zeros(N_TYPE_IDS, bool)
    mask[[TYPES[name].id for name in names]] = True
    return mask


OP_NAME = np.full(max(NEWEST.ops.values()) + 1, "", dtype=object)
for _name, _number in NEWEST.ops.items():
    OP_NAME[_number] = _name


@dataclass(slots=True, eq=False)
class TensorTable:
    """Columns of n tensors. Numbers of types and ops are canonical (ggml.numbering.NEWEST).

    Attributes:
        ne, nb: int64 [n, 4].
        type, op: int64 [n].
        op_params: int32 [n, 16].
        src: int64 [n, 10], row of each source, -1 where empty.
        view_src: int64 [n], row, -1 for none.
        names: how to show a row in an error.
    """

    ne: np.ndarray
    nb: np.ndarray
    type: np.ndarray
    op: np.ndarray
    op_params: np.ndarray
    src: np.ndarray
    view_src: np.ndarray
    names: Callable[[int], str]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> TensorTable:
        """The columns of tensors that were built in Python; sources must be in the list."""
        row = {id(t): i for i, t in enumerate(tensors)}
        src = np.full((len(tensors), MAX_SRC), -1, np.int64)
        for i, t in enumerate(tensors):
            for k, s in enumerate(t.src):
                if s is not None:
                    src[i, k] = row[id(s)]
        return cls(
            ne=np.array([t.ne for t in tensors], np.int64).reshape(-1, 4),
            nb=np.array([t.nb for t in tensors], np.int64).reshape(-1, 4),
            type=np.array([t.type.id for t in tensors], np.int64),
            op=np.array([NEWEST.ops[t.op] for t in tensors], np.int64),
            op_params=np.array([t.op_params for t in tensors], np.int32).reshape(-1, 16),
            src=src,
            view_src=np.array([row.get(id(t.view_src), -1) for t in tensors], np.int64),
            names=lambda i: tensors[i].name,
        )


class Columns:
    """Rows of a TensorTable, as arrays; rows of -1 read as absent (all zero)."""

    def __init__(self, table: TensorTable, rows: np.ndarray) -> None:
        self._table = table
        self.rows = rows
        self.present = rows >= 0

    def _take(self, column: np.ndarray) -> np.ndarray:
        taken = column.take(self.rows, axis=0)
        if not self.everywhere:
            taken[~self.present] = 0
        return taken

    @cached_property
    def everywhere(self) -> bool:
        """Whether no row is absent."""
        return bool(self.present.all())

    @cached_property
    def ne(self) -> np.ndarray:
        """int64 [n, 4]; 0 where absent."""
        return self._take(self._table.ne)

    @cached_property
    def nb(self) -> np.ndarray:
        """int64 [n, 4], bytes; 0 where absent."""
        return self._take(self._table.nb)

    @cached_property
    def type(self) -> np.ndarray:
        """int64 [n], canonical type ids; F32 where absent."""
        return self._take(self._table.type)

    @property
    def blck_size(self) -> np.ndarray:
        """int64 [n], elements per block."""
        return BLCK_SIZE[self.type]

    @property
    def type_size(self) -> np.ndarray:
        """int64 [n], bytes per block."""
        return TYPE_SIZE[self.type]

    @cached_property
    def nelements(self) -> np.ndarray:
        """int64 [n]; the wire layer has refused products that overflow."""
        return self.ne.prod(axis=1)

    def is_type(self, *names: str) -> np.ndarray:
        """bool [n]: the type is one of the names."""
        return type_mask(names)[self.type]

    @cached_property
    def rows_contiguous(self) -> np.ndarray:
        """bool [n]: no gaps inside a row."""
        return (self.nb[:, 0] == self.type_size) | (self.ne[:, 0] == self.blck_size)

    @cached_property
    def contiguous(self) -> np.ndarray:
        """bool [n]: no gaps and no permutation; dimensions of one element do not count."""
        ok = self.rows_contiguous.copy()
        expected = self.type_size * (self.ne[:, 0] // np.maximum(self.blck_size, 1))
        for d in (1, 2, 3):
            ok &= (self.ne[:, d] == 1) | (self.nb[:, d] == expected)
            expected = expected * np.maximum(self.ne[:, d], 1)
        return ok


class Nodes(Columns):
    """All nodes of one op in a graph. A shape rule calls `require` on it and returns nothing."""

    def __init__(self, table: TensorTable, rows: np.ndarray) -> None:
        super().__init__(table, rows)
        self._src: dict[int, Columns] = {}

    def src(self, slot: int) -> Columns:
        """The source in a slot, for every node."""
        if slot not in self._src:
            self._src[slot] = Columns(self._table, self._table.src[self.rows, slot])
        return self._src[slot]

    def i32(self, slot: int) -> np.ndarray:
        """op_params[slot] as int64 [n]."""
        return self._table.op_params[self.rows, slot].astype(np.int64)

    def f32(self, slot: int) -> np.ndarray:
        """op_params[slot] read as the bits of floats, float32 [n]."""
        return np.ascontiguousarray(self._table.op_params[self.rows, slot]).view(np.float32)

    def require(self, ok: np.ndarray | np.bool, what: str, got: np.ndarray, expected: str) -> None:
        """Refuse the graph unless `ok` holds for every node.

        Args:
            ok: bool [n].
            what: the thing judged, "src[0].ne[0]".
            got: [n] or [n, k], the values found.
            expected: the rule in words, "src[1].ne[0]".

        Raises:
            BadGraph: naming the first node that breaks the rule.
        """
        if ok.all():
            return
        i = int(np.argmin(ok))
        found = got[i]
        row = int(self.rows[i])
        raise BadGraph(
            "GRAPH_COMPUTE",
            what,
            found.tolist() if isinstance(found, np.ndarray | np.generic) else found,
            expected,
            context=f"{OP_NAME[self._table.op[row]]} {clip(repr(self._table.names(row)))}",
        )
