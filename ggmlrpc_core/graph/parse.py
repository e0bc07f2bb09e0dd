"""From a GRAPH_COMPUTE message to a Graph that is safe to hand to a device.

    ids -> rows, types, extents -> where the bytes are -> op rules -> Tensor objects and a key

All checks are array passes over the whole message; Python objects are made once, at the end. Nothing here recurses, so
a chain of any length is just a long list.

Source: docs/reference/protocol, graphs; ggml-rpc.cpp graph_compute @ 7.0.0.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np

from ggmlrpc_core.errors import BadGraph, clip
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.bind import Resolve
from ggmlrpc_core.graph.table import BLCK_SIZE, OP_NAME, TYPE_SIZE, TensorTable
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, NO_PARAMS, VIEW_OPS, Graph, Tensor
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import TYPE_BY_ID, decode_name
from ggmlrpc_core.wire.translate import translation

CheckNodes = Callable[[TensorTable, np.ndarray], None]
"""Applies the rules of ops to rows of a table (ops.validate.check_nodes)."""

MAX_BYTES = float(1 << 62)

_VIEW_OP_NUMBERS = np.array([NEWEST.ops[name] for name in VIEW_OPS])
_WHERE = "GRAPH_COMPUTE"


def parse_graph(
    nodes: np.ndarray,
    tensors: np.ndarray,
    *,
    dialect: Dialect,
    resolve: Resolve,
    check_nodes: CheckNodes,
) -> Graph:
    """Check a graph message whole and bind it to buffers.

    Args:
        nodes: uint64 [n], ids in compute order.
        tensors: structured [m], rpc_tensor of the dialect.
        dialect: whose numbers are in `tensors`.
        resolve: handles of the session.
        check_nodes: op rules.

    Returns:
        The graph; every tensor that a running node reads or writes lies inside its buffer.

    Raises:
        BadGraph: before anything has run.
    """
    table, flags, runs, rows, nbytes = _read(nodes, tensors, dialect)
    check_nodes(table, runs)
    place = _Placement(rows, nbytes, runs, dialect=dialect, resolve=resolve)
    bound = _objects(rows, table, flags, place)
    return Graph([bound[i] for i in rows.nodes.tolist()], key=_key(rows, table, flags, place))


def graph_table(
    nodes: np.ndarray, tensors: np.ndarray, dialect: Dialect
) -> tuple[TensorTable, np.ndarray, np.ndarray]:
    """What a graph message says under a dialect, for whoever wants to judge that alone; no buffer is looked at.

    Returns:
        (table of all tensors, rows of the nodes in order, those of them that are computed).

    Raises:
        BadGraph: missing ids, dead types or impossible extents.
    """
    table, _, runs, rows, _ = _read(nodes, tensors, dialect)
    return table, rows.nodes, runs


def _read(
    nodes: np.ndarray, tensors: np.ndarray, dialect: Dialect
) -> tuple[TensorTable, np.ndarray, np.ndarray, _Rows, np.ndarray]:
    """Table, flags, rows that are computed, ids as rows, bytes spanned."""
    type_ids, ops, op_params, src_ids = translation(dialect).columns(tensors)
    rows = _Rows(nodes, tensors, src_ids)
    _refuse_unknown_ops(rows, ops, dialect)
    ne, nb = tensors["ne"].astype(np.int64), tensors["nb"].astype(np.int64)
    nbytes = _extents(rows, type_ids, ne, nb, dialect=dialect)
    flags = tensors["flags"].astype(np.int64)
    runs = _running(rows.nodes, ops, ne, flags)
    table = TensorTable(
        ne=ne, nb=nb, type=type_ids, op=ops, op_params=op_params,
        src=rows.src, view_src=rows.view_src, names=rows.name,
    )  # fmt: skip
    return table, flags, runs, rows, nbytes


class _Rows:
    """Ids resolved to rows of the tensor list; -1 for none."""

    def __init__(self, nodes: np.ndarray, tensors: np.ndarray, src_ids: np.ndarray) -> None:
        self.tensors = tensors
        self._src_ids = src_ids
        self._ids, self._first = np.unique(
            tensors["id"], return_index=True
        )  # the first of duplicates wins
        self.nodes = self._find(nodes)
        if (self.nodes < 0).any():
            self._missing("node id", int(nodes[np.argmin(self.nodes)]))
        if len(np.unique(self.nodes)) != len(self.nodes):
            raise BadGraph(_WHERE, "node list", "one id twice", "each id once")
        self.src = self._find(src_ids)
        self.view_src = self._find(tensors["view_src"])
        lost = ((self.src < 0) & (src_ids != 0)).any(axis=1)
        lost |= (self.view_src < 0) & (tensors["view_src"] != 0)
        if lost.any():
            self._refuse_reachable(lost)
        self.src[src_ids == 0] = -1  # a tensor with id 0 can be a node but never a source
        self.view_src[tensors["view_src"] == 0] = -1

    def _find(self, ids: np.ndarray) -> np.ndarray:
        if len(self._ids) == 0:
            return np.full(ids.shape, -1, np.int64)
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[at] == ids, self._first[at], -1).astype(np.int64)

    def _refuse_reachable(self, lost: np.ndarray) -> None:
        """A missing id matters only in a tensor that a node reaches."""
        seen = set()
        stack = self.nodes.tolist()
        while stack:
            row = stack.pop()
            if row in seen or row < 0:
                continue
            seen.add(row)
            if lost[row]:
                ids = [*self._src_ids[row].tolist(), int(self.tensors["view_src"][row])]
                found = [*self.src[row].tolist(), int(self.view_src[row])]
                missing = next(i for i, r in zip(ids, found) if i and r < 0)
                self._missing(f"source id of {clip(repr(self.name(row)))}", missing)
            stack.extend(self.src[row].tolist())
            stack.append(int(self.view_src[row]))

    def _missing(self, what: str, tensor_id: int) -> None:
        raise BadGraph(_WHERE, what, f"{tensor_id:#x}", "an id of the tensor list")

    def name(self, row: int) -> str:
        """The name of a row, for people."""
        return decode_name(bytes(self.tensors["name"][row]))

    def refuse(
        self, ok: np.ndarray, what: str, got: Callable[[int], object], expected: str
    ) -> None:
        """Raise for the first row that is not ok."""
        if ok.all():
            return
        row = int(np.argmin(ok))
        raise BadGraph(
            _WHERE, what, got(row), expected, context=f"tensor {clip(repr(self.name(row)))}"
        )


def _refuse_unknown_ops(rows: _Rows, ops: np.ndarray, dialect: Dialect) -> None:
    """A node whose op has no canonical number is told by the name that its dialect has for it."""
    known = np.ones(len(ops), bool)
    known[rows.nodes] = ops[rows.nodes] >= 0
    name = translation(dialect).op_name
    rows.refuse(
        known, "op", lambda r: name(int(rows.tensors["op"][r])), "an op that can be computed"
    )


def _extents(
    rows: _Rows, type_ids: np.ndarray, ne: np.ndarray, nb: np.ndarray, *, dialect: Dialect
) -> np.ndarray:
    """Check types and extents; returns bytes spanned, int64 [m]."""
    live = (type_ids >= 0) & (BLCK_SIZE[type_ids] > 0)
    name = translation(dialect).type_name
    rows.refuse(live, "type", lambda r: name(int(rows.tensors["type"][r])), "a live type")
    blck, size = BLCK_SIZE[type_ids], TYPE_SIZE[type_ids]
    rows.refuse(
        ne[:, 0] % blck == 0,
        "ne[0]",
        lambda r: int(ne[r, 0]),
        "a multiple of the block size of its type",
    )
    count = ne.astype(np.float64).prod(axis=1)
    rows.refuse(count < MAX_BYTES, "ne", lambda r: ne[r].tolist(), "fewer than 2^62 elements")
    span = np.maximum(ne - 1, 0)
    reach = (span.astype(np.float64) * nb).sum(axis=1)
    rows.refuse(reach < MAX_BYTES, "nb", lambda r: nb[r].tolist(), "fewer than 2^62 bytes spanned")
    upper = (span[:, 1:] * nb[:, 1:]).sum(axis=1)
    plain = size + span[:, 0] * nb[:, 0] + upper
    blocks = ne[:, 0] * nb[:, 0] // blck + upper
    return np.where((ne == 0).any(axis=1), 0, np.where(blck == 1, plain, blocks))


def _running(nodes: np.ndarray, ops: np.ndarray, ne: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Rows of the nodes that are computed, in order.

    Clients older than the compute flag set it on no node; then it counts as set on all (2026-01-19, inside 3.6.0).
    """
    if not (flags[nodes] & FLAG_COMPUTE).any():
        flags[nodes] |= FLAG_COMPUTE
    runs = (flags[nodes] & FLAG_COMPUTE != 0) & ~np.isin(ops[nodes], _VIEW_OP_NUMBERS)
    return nodes[runs & (ne[nodes] != 0).all(axis=1)]


class _Placement:
    """Where each row's bytes are: buffer object and offset."""

    def __init__(
        self,
        rows: _Rows,
        nbytes: np.ndarray,
        runs: np.ndarray,
        *,
        dialect: Dialect,
        resolve: Resolve,
    ) -> None:
        handles, which = np.unique(rows.tensors["buffer"], return_inverse=True)
        bounds = [resolve(handle) if handle else None for handle in handles.tolist()]
        self.buffers = [None if b is None else b.buffer for b in bounds]
        known = np.array([b is not None for b in bounds], bool)
        base = np.array([b.base if b else 0 for b in bounds], np.uint64)
        size = np.array([b.size if b else 0 for b in bounds], np.uint64)
        data = rows.tensors["data"]
        length = nbytes.astype(np.uint64)

        def fits(which: np.ndarray) -> np.ndarray:
            """bool [m]: the bytes of each tensor lie inside the buffer that it is given."""
            room, first = size[which], base[which]
            offset = data - first  # wraps below base, where the last comparison fails
            return (length <= room) & (offset <= room - np.minimum(length, room)) & (data >= first)

        inside = fits(which)
        if not dialect.foreign_data_is_zero and not (inside | ~known[which]).all():
            # Before 2024-06 a view named the buffer of the graph's own results, not the one that it shows.
            shown = np.where(rows.view_src >= 0, which[rows.view_src], which)
            which = np.where(~inside & known[shown] & fits(shown), shown, which)
            inside = fits(which)
        self.which = which
        offset, known = data - base[which], known[which]
        rows.refuse(
            ~known | inside,
            "region",
            lambda r: f"[{int(data[r]):#x}, {int(data[r]) + int(nbytes[r]):#x})",
            "inside its buffer",
        )
        if dialect.foreign_data_is_zero:
            rows.refuse(
                known | (data == 0),
                "data of a tensor without buffer",
                lambda r: f"{int(data[r]):#x}",
                "0",
            )
        touched = np.zeros(len(known), bool)
        touched[runs] = True
        used = rows.src[runs]
        touched[used[used >= 0]] = True
        rows.refuse(
            ~touched | known,
            "buffer",
            lambda r: f"{int(rows.tensors['buffer'][r]):#x}",
            "a buffer of this connection for a tensor that is computed or read",
        )
        self.offset = np.where(known, offset, 0).astype(np.uint64)


def _objects(rows: _Rows, table: TensorTable, flags: np.ndarray, place: _Placement) -> list[Tensor]:
    """Tensor objects of all rows."""
    tensors = rows.tensors
    n = len(tensors)
    use_count = (
        tensors["use_count"].tolist() if "use_count" in (tensors.dtype.names or ()) else [0] * n
    )
    op_params = [NO_PARAMS] * n  # most tensors have none
    for row in np.flatnonzero(table.op_params.any(axis=1)).tolist():
        op_params[row] = tuple(table.op_params[row].tolist())
    buffers = [place.buffers[i] for i in place.which.tolist()]
    # Fields in the order of Tensor: keywords would cost a third of the time of a new graph.
    made: list[Tensor | None] = [
        Tensor(
            tensor_id, TYPE_BY_ID[type_id], tuple(ne), tuple(nb), OP_NAME[op] if op >= 0 else "NONE",
            params, flag, (), None, view_offs, buffer, offset, name.decode("utf-8", "replace"), count,
        )
        for tensor_id, type_id, ne, nb, op, params, flag, view_offs, buffer, offset, name, count in zip(
            tensors["id"].tolist(), table.type.tolist(), table.ne.tolist(), table.nb.tolist(),
            table.op.tolist(), op_params, flags.tolist(), tensors["view_offs"].tolist(), buffers,
            place.offset.tolist(), _names(tensors), use_count,
        )
    ]  # fmt: skip
    used = rows.src >= 0
    n_src = np.where(used.any(axis=1), rows.src.shape[1] - np.argmax(used[:, ::-1], axis=1), 0)
    made.append(None)  # row -1 is no tensor
    for row in np.flatnonzero(n_src).tolist():
        made[row].src = tuple([made[r] for r in rows.src[row, : n_src[row]].tolist()])  # type: ignore[union-attr]
    for row in np.flatnonzero(rows.view_src >= 0).tolist():
        made[row].view_src = made[int(rows.view_src[row])]  # type: ignore[union-attr]
    return made[:-1]  # type: ignore[return-value]


def _names(tensors: np.ndarray) -> list[bytes]:
    """Name fields, cut at the first zero byte; NumPy has cut zeros at the end already."""
    names = tensors["name"].tolist()
    return [name.partition(b"\0")[0] if b"\0" in name else name for name in names]


def _key(rows: _Rows, table: TensorTable, flags: np.ndarray, place: _Placement) -> bytes:
    """A digest of all that decides what running the graph does; handles are unique, so they stand for memory."""
    digest = blake2b(digest_size=16)
    for column in (
        rows.nodes, rows.src, rows.view_src, table.ne, table.nb, table.type, table.op, table.op_params,
        flags, rows.tensors["buffer"], place.offset, rows.tensors["view_offs"],
    ):  # fmt: skip
        digest.update(np.ascontiguousarray(column).data)
    if "use_count" in (rows.tensors.dtype.names or ()):
        digest.update(np.ascontiguousarray(rows.tensors["use_count"]).data)
    return digest.digest()
