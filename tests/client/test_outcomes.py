"""Who can work with whom: old clients of every version on stock servers, as it was, and on ours, as it is now.

The client is our engine, doing what a stock client of its version does, and going on only if that one goes on.
Source: docs/reference/protocol, outcome matrix.
"""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.client.connection import ClientConnection
from ggmlrpc_core.client.serialise import graph_message, record_of
from ggmlrpc_core.client.sockets import open_socket
from ggmlrpc_core.engine import Connection, Role
from ggmlrpc_core.errors import ConnectionLost, RemoteProtocolError, UnsupportedOp
from ggmlrpc_core.graph.build import GraphBuilder, allocate, message_order
from ggmlrpc_core.server import Server
from ggmlrpc_core.testing import ReferenceDevice
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.wire.dialects import dialect
from ggmlrpc_core.wire.handshake import stock_client_accepts
from ggmlrpc_core.wire.version import ProtocolVersion

TIMEOUT = 10.0
HELLO = "HELLO"
WORKS, REJECTED = "works", "rejected by the client"
VERSIONS = [
    "none-A", "none-B", "none-C", "none-D", "none-E", "1.0.0", "2.0.0", "3.0.0", "3.5.0", "3.6.0@2025-12-05",
    "3.6.0@2026-03-07", "3.6.1", "4.0.0", "4.0.1", "4.0.2", "4.0.3", "5.0.0", "5.1.0", "6.0.0", "7.0.0",
]  # fmt: skip


class OldClient:
    """A stock client of a dialect: what it asks, in its order, and where it ends."""

    def __init__(self, name, endpoint):
        self.dialect = dialect(name)
        self._connection = ClientConnection(
            open_socket(endpoint, TIMEOUT), endpoint, engine=Connection(Role.CLIENT, self.dialect)
        )

    def run(self):
        """What comes of it: WORKS, REJECTED, or where and how it ended."""
        with self._connection:
            try:
                if self._has(HELLO):
                    answer = self._call(HELLO, conn_caps=b"")
                    announced = ProtocolVersion(answer["major"], answer["minor"], answer["patch"])
                    if not stock_client_accepts(self.dialect.version, announced):
                        return REJECTED
                return self._work()
            except ConnectionLost as exc:
                return f"closed at {exc.where}"
            except RemoteProtocolError as exc:
                return f"misread at {exc.where}"

    def _work(self):
        if self._has("DEVICE_COUNT"):
            assert self._call("DEVICE_COUNT")["device_count"] == 1
        self._call("GET_ALIGNMENT")
        self._call("GET_MAX_SIZE")
        self._call("GET_DEVICE_MEMORY")
        handle = self._call("ALLOC_BUFFER", size=4096)["remote_ptr"]
        base = self._call("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]
        graph, leafs, results = self._graph()

        def place(tensor):
            return handle, base + tensor.offset

        if self._has("GET_ALLOC_SIZE"):
            rows = record_of(leafs[0], place)
            self._call("GET_ALLOC_SIZE", tensor=rows, srcs=[])
        values = [
            np.linspace(-1, 2 + at, t.nelements, dtype=np.float32) for at, t in enumerate(leafs)
        ]
        for tensor, value in zip(leafs, values, strict=True):
            self._call("SET_TENSOR", body=value, tensor=record_of(tensor, place), offset=0)
        nodes, tensors = graph_message(graph, self.dialect, place)
        answer = self._call("GRAPH_COMPUTE", nodes=nodes, tensors=tensors)
        assert answer.get("result", 0) == 0
        if self._has("GRAPH_RECOMPUTE"):
            self._call("GRAPH_RECOMPUTE")
        got = np.empty(results.nelements, np.float32)
        self._connection.fetch(
            "GET_TENSOR", got.data.cast("B"), tensor=record_of(results, place), offset=0
        )
        self._call("FREE_BUFFER", remote_ptr=handle)
        self._call("GET_ALIGNMENT")
        return WORKS if np.allclose(got, expected(*values), rtol=1e-3) else "wrong results"

    def _graph(self):
        b = GraphBuilder()
        w, x = b.new_tensor("F32", 32, 4, name="w"), b.new_tensor("F32", 32, 2, name="x")
        y = b.soft_max_ext(b.silu(b.mul_mat(w, x)))
        allocate([y], NullDevice())
        leafs = [t for t in message_order([y]) if t.op == "NONE"]
        return b.graph(y), leafs, y

    def _has(self, command):
        return command in self.dialect.by_name

    def _call(self, command, **fields):
        return self._connection.call(command, **fields)


def expected(w, x):
    y = x.reshape(2, 32) @ w.reshape(4, 32).T
    y = y / (1 + np.exp(-y))
    e = np.exp(y - y.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).ravel()


def group(name):
    """How a version begins: no HELLO, one of 0 bytes, or one of 24."""
    return dialect(name).hello_size


def begins(client, server):
    """What comes of the first message; None when both go on."""
    if group(client) is None:
        return None if group(server) is None else "closed at "
    if group(client) != group(server):
        return "closed at HELLO"
    ours, theirs = dialect(client).version, dialect(server).version
    return None if ours.major == theirs.major and theirs.minor <= ours.minor else REJECTED


def as_it_was(client, server):
    """The outcome with a stock server."""
    first = begins(client, server)
    if first is not None:
        return first
    minors = (dialect(client).version[:2], dialect(server).version[:2])
    if minors == ((3, 5), (3, 0)):
        return "misread at GET_TENSOR"
    if minors in (((3, 6), (3, 5)), ((3, 6), (3, 0))):
        return "closed at GET_ALLOC_SIZE"
    one, other = dialect(client), dialect(server)
    if group(client) is None and client != server:
        return "anything else"
    used = [
        (one.numbering.ops[op], other.numbering.ops[op]) for op in ("MUL_MAT", "SOFT_MAX", "UNARY")
    ]
    return WORKS if all(a == b for a, b in used) else "anything else"


@pytest.mark.parametrize("server", VERSIONS)
def test_on_a_stock_server(stock, server):
    for client in VERSIONS:
        process = stock(server)
        got, want = OldClient(client, process.endpoint).run(), as_it_was(client, server)
        process.close()
        if want == "anything else":
            assert got != WORKS, (client, server)
        else:
            assert got.startswith(want), (client, server)
        assert process.death is None or want == "anything else"


def as_it_is(client, server):
    """The outcome with our server: whoever goes on is understood."""
    return begins(client, server) or WORKS


@pytest.mark.parametrize("server", VERSIONS)
def test_on_our_server(server):
    with Server([lambda: ReferenceDevice()], endpoint="127.0.0.1:0", dialect=server) as ours:
        for client in VERSIONS:
            got = OldClient(client, ours.endpoint).run()
            assert got.startswith(as_it_is(client, server)), (client, server)


def test_the_rows_of_the_matrix():
    """The sentences of the source, one by one."""
    rows = {
        ("none-E", "1.0.0"): "closed at ",
        ("1.0.0", "none-E"): "closed at HELLO",
        ("3.6.1", "4.0.0"): "closed at HELLO",
        ("4.0.0", "3.6.1"): "closed at HELLO",
        ("1.0.0", "2.0.0"): REJECTED,
        ("3.0.0", "2.0.0"): REJECTED,
        ("6.0.0", "5.1.0"): REJECTED,
        ("3.0.0", "3.5.0"): REJECTED,
        ("3.0.0", "3.6.1"): REJECTED,
        ("3.5.0", "3.0.0"): "misread at GET_TENSOR",
        ("3.6.1", "3.5.0"): "closed at GET_ALLOC_SIZE",
        ("3.6.1", "3.0.0"): "closed at GET_ALLOC_SIZE",
        ("3.6.1", "3.6.0@2025-12-05"): "anything else",
        ("3.6.1", "3.6.0@2026-03-07"): WORKS,
        ("4.0.3", "4.0.0"): "anything else",
        ("5.1.0", "5.0.0"): WORKS,
        ("5.0.0", "5.1.0"): REJECTED,
    }
    assert {pair: as_it_was(*pair) for pair in rows} == rows


NUMBERINGS = ["2.0.0@2025-04-25", "2.0.0@2025-06-27", "2.0.0@2025-08-05", "2.0.0@2025-10-02"]


@pytest.mark.parametrize("server", NUMBERINGS)
def test_numberings_behind_one_version_on_our_server(server):
    with Server([lambda: ReferenceDevice()], endpoint="127.0.0.1:0", dialect=server) as ours:
        outcomes = {client: OldClient(client, ours.endpoint).run() for client in NUMBERINGS}
    assert outcomes == dict.fromkeys(NUMBERINGS, WORKS)


def test_a_client_of_the_fork_on_a_server_of_upstream_and_the_reverse():
    for server, client in (("3.5.0", "ik-3.5.1"), ("ik-3.5.1", "3.5.0"), ("ik-3.5.1", "ik-3.5.1")):
        with Server([lambda: ReferenceDevice()], endpoint="127.0.0.1:0", dialect=server) as ours:
            try:
                assert OldClient(client, ours.endpoint).run() == WORKS
            except UnsupportedOp:
                assert client.startswith("ik")
