"""Which numbering a client uses, told by a graph of it: the one under which its nodes make sense.

A version can hide several numberings of ops, and nothing on the wire names them. A graph is read under each one that is
possible; the rules of ops decide which readings can run, and what real clients build decides between those that can.
Knows no socket and no session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.graph.parse import graph_table
from ggmlrpc_core.ops.plausible import plausible
from ggmlrpc_core.ops.validate import check_nodes
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import tensor_dtype
from ggmlrpc_core.wire.translate import translation


@dataclass(slots=True)
class Sense:
    """What a graph means to dialects that read it alike.

    Attributes:
        dialects: in the order in which they were given.
        fault: why it cannot run under them; None when it can.
        plausible: it also looks like what a real client builds.
    """

    dialects: list[Dialect]
    fault: BadGraph | None = None
    plausible: bool = field(default=False)


def senses(nodes: np.ndarray, tensors: np.ndarray, dialects: Sequence[Dialect]) -> list[Sense]:
    """Judge a graph message under each dialect, once for those that read every node alike.

    Args:
        nodes: uint64 [n], ids.
        tensors: structured [m], rpc_tensor of a form that all of the dialects share.
        dialects: candidates.

    Returns:
        In the order of the dialects; the dialects of all senses together are those that were given.
    """
    found: dict[bytes, Sense] = {}
    listed = np.isin(tensors["id"], nodes)
    for one in dialects:
        seen = tensors.view(tensor_dtype(one))
        try:
            key = _key(seen, listed, one)
        except BadGraph as exc:
            key = str(exc).encode()
            found.setdefault(key, Sense([], exc)).dialects.append(one)
            continue
        if key in found:
            found[key].dialects.append(one)
        else:
            found[key] = _judge(nodes, seen, one)
    return list(found.values())


def read_alike(nodes: np.ndarray, tensors: np.ndarray, dialects: Sequence[Dialect]) -> bool:
    """Whether a graph is the same under all dialects: a fraction of the work of judging it.

    Args:
        nodes, tensors, dialects: as for `senses`.
    """
    listed = np.isin(tensors["id"], nodes)
    try:
        return len({_key(tensors.view(tensor_dtype(one)), listed, one) for one in dialects}) == 1
    except BadGraph:
        return False


def _key(tensors: np.ndarray, listed: np.ndarray, one: Dialect) -> bytes:
    """A digest of what the nodes and all types are under a dialect."""
    columns = translation(one).columns(tensors)
    digest = blake2b(digest_size=16)
    digest.update(np.ascontiguousarray(columns.type).data)
    for column in (columns.op, columns.op_params, columns.src):
        digest.update(np.ascontiguousarray(column[listed]).data)
    return digest.digest()


def _judge(nodes: np.ndarray, tensors: np.ndarray, one: Dialect) -> Sense:
    try:
        table, rows, runs = graph_table(nodes, tensors, one)
        check_nodes(table, runs)
    except BadGraph as exc:
        return Sense([one], exc)
    return Sense([one], None, plausible(table, rows))
