"""Tensors made in Python to tensors of the wire: one record, or a whole graph in array passes.

Ids on the wire are rows of the message, so equal graphs are equal bytes. Knows no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ggmlrpc_core.errors import AmbiguousDialect, LocalProtocolError, UnsupportedOp
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build import message_order
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import TensorRecord, tensor_dtype
from ggmlrpc_core.wire.translate import translation

Place = Callable[[Tensor], tuple[int, int]]
"""Buffer handle and address of a tensor; (0, 0) for one that lives elsewhere."""

MAX_EXTENT = (1 << 32) - 1


def record_of(tensor: Tensor, place: Place) -> TensorRecord:
    """One tensor for a request other than GRAPH_COMPUTE: no sources.

    Raises:
        LocalProtocolError: an extent or stride needs more than 32 bits.
    """
    _check_extents("tensor", [tensor])
    handle, data = place(tensor)
    return TensorRecord(
        id=tensor.id,
        type=tensor.type.id,
        ne=tensor.ne,
        nb=tensor.nb,
        buffer=handle,
        op=NEWEST.ops[tensor.op],
        op_params=tensor.op_params,
        flags=tensor.flags,
        view_offs=tensor.view_offs,
        data=data,
        name=tensor.name.encode("utf-8", errors="replace"),
    )


def graph_message(graph: Graph, dialect: Dialect, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """The node ids (uint64 [n]) and the tensor list (structured [m]) of GRAPH_COMPUTE.

    Raises:
        UnsupportedOp: the dialect has no number for an op, function or type, or its form of an op cannot say this.
        LocalProtocolError: an extent or stride needs more than 32 bits.
    """
    tensors = message_order(graph.nodes)
    _check_extents("GRAPH_COMPUTE", tensors)
    ids = {id(t): row for row, t in enumerate(tensors, start=1)}
    array = np.zeros(len(tensors), tensor_dtype(dialect))
    if not tensors:
        return np.zeros(0, "<u8"), array
    placed = [place(t) for t in tensors]
    columns: dict[str, object] = {
        "id": np.arange(1, len(tensors) + 1),
        "type": [t.type.id for t in tensors],
        "buffer": np.array([handle for handle, _ in placed], np.uint64),
        "ne": [t.ne for t in tensors],
        "nb": [[b & MAX_EXTENT for b in t.nb] for t in tensors],
        "op": [NEWEST.ops[t.op] for t in tensors],
        "op_params": [t.op_params for t in tensors],
        "flags": [t.flags for t in tensors],
        "view_src": [0 if t.view_src is None else ids[id(t.view_src)] for t in tensors],
        "view_offs": [t.view_offs for t in tensors],
        "data": np.array([data for _, data in placed], np.uint64),
        "name": [t.name.encode("utf-8", errors="replace")[: dialect.max_name - 1] for t in tensors],
    }
    if "use_count" in (array.dtype.names or ()):
        columns["use_count"] = [t.use_count for t in tensors]
    for name, values in columns.items():
        array[name] = values
    for row, t in enumerate(tensors):
        if t.src:
            array["src"][row, : len(t.src)] = [0 if s is None else ids[id(s)] for s in t.src]
    try:
        translation(dialect).graph_to_dialect(array)
    except KeyError as exc:
        raise UnsupportedOp(
            "GRAPH_COMPUTE", "op, function or type", exc.args[0], f"one of protocol {dialect.name}"
        ) from exc
    return np.array([ids[id(n)] for n in graph.nodes], "<u8"), array


def agreed_message(
    graph: Graph, candidates: Sequence[Dialect], place: Place
) -> tuple[np.ndarray, np.ndarray]:
    """GRAPH_COMPUTE for a server of one of several states: only what all of them read alike.

    Raises:
        AmbiguousDialect: the states differ in what the graph needs.
        UnsupportedOp, LocalProtocolError: as graph_message, under every state.
    """
    messages = [_attempt(graph, one, place) for one in candidates]
    written = [m for m in messages if not isinstance(m, UnsupportedOp)]
    if not written:
        refusal = messages[-1]
        assert isinstance(refusal, UnsupportedOp)
        raise refusal
    nodes, tensors = written[-1]
    alike = all(np.array_equal(tensors, other) for _, other in written)
    if alike and len(written) == len(messages):
        return nodes, tensors
    names = dict.fromkeys(n.op for n in graph.nodes if not _agreed(n, candidates))
    what = ", ".join(names) or "the form of its nodes"
    raise ambiguous("GRAPH_COMPUTE", what, candidates)


def ambiguous(where: str, got: str, candidates: Sequence[Dialect]) -> AmbiguousDialect:
    """The refusal to send what several states read in different ways."""
    names = ", ".join(one.name for one in candidates)
    return AmbiguousDialect(
        where,
        "op",
        got,
        "what every numbering that the server may have says alike",
        context=f"it may be of {names}; pass dialect= with the one it has",
    )


def numbered_alike(op: str, candidates: Sequence[Dialect]) -> bool:
    """Whether all states have one number for an op."""
    return len({one.numbering.ops.get(op) for one in candidates}) == 1


def _agreed(node: Tensor, candidates: Sequence[Dialect]) -> bool:
    functions = {"UNARY": NEWEST.unary, "GLU": NEWEST.glu}.get(node.op)
    if functions is None:
        return numbered_alike(node.op, candidates)
    name = next((n for n, number in functions.items() if number == node.op_params[0]), "")
    tables = [getattr(one.numbering, node.op.lower()) for one in candidates]
    return numbered_alike(node.op, candidates) and len({t.get(name) for t in tables}) == 1


def _attempt(
    graph: Graph, dialect: Dialect, place: Place
) -> tuple[np.ndarray, np.ndarray] | UnsupportedOp:
    try:
        return graph_message(graph, dialect, place)
    except UnsupportedOp as exc:
        return exc


def _check_extents(where: str, tensors: list[Tensor]) -> None:
    """ne and nb are 32 bits wide on the wire; the stock client cuts them without a word."""
    for t in tensors:
        widest = max(*t.ne, *(b for n, b in zip(t.ne, t.nb) if n > 1))
        if widest > MAX_EXTENT:
            raise LocalProtocolError(
                where, "ne or nb", widest, f"at most {MAX_EXTENT}", context=f"tensor {t.name!r}"
            )
