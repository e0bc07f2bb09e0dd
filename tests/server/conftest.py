"""Servers of pretended devices, and clients that say what they like."""

import logging
import socket
import struct

import pytest

from ggmlrpc_core.client.greeting import connect
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, contiguous_nb
from ggmlrpc_core.server.server import Server
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.wire import codec, dialects
from ggmlrpc_core.wire.tensors import TensorRecord

TIMEOUT = 20.0


@pytest.fixture
def log(caplog):
    """Sentences of faults, one per line of the log at WARNING or above."""
    caplog.set_level(logging.INFO, "ggmlrpc.server")

    class Faults:
        def __eq__(self, other):
            return list(self) == other

        def __iter__(self):
            return iter(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)

        def __repr__(self):
            return repr(list(self))

        @property
        def all(self):
            return [record.getMessage() for record in caplog.records]

    return Faults()


@pytest.fixture
def start(log):
    """Start a server that ends with the test: `start(device, ..., limits=...)`."""
    servers = []

    def begin(*devices, endpoint="127.0.0.1:0", **options):
        made = devices or (NullDevice("NULL0", total=1 << 20),)
        opens = [lambda d=d: d if not callable(d) else d() for d in made]
        server = Server(opens, endpoint=endpoint, **options)
        server.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.close()
        assert server.memory_used == 0
        assert server.n_clients == 0


class Peer:
    """A client that may break every rule: bytes of requests, and what comes back."""

    def __init__(self, server, dialect="7.0.0", *, hello=True):
        self.dialect = dialects.dialect(dialect) if isinstance(dialect, str) else dialect
        self.sock = socket.create_connection(
            (server.endpoint.host, server.endpoint.port), timeout=TIMEOUT
        )
        if hello:
            self.send(self.message("HELLO", conn_caps=b""))
            self.reply(self.dialect.by_name["HELLO"].reply.size)

    def message(self, command, body=b"", *, patch=None, **fields):
        """A request as the dialect has it; `patch` replaces bytes at offsets of its payload."""
        wire = self.dialect.by_name[command]
        payload = bytearray(codec.encode_request(self.dialect, wire, fields) + body)
        for at, replacement in (patch or {}).items():
            payload[at : at + len(replacement)] = replacement
        return struct.pack("<BQ", wire.number, len(payload)) + payload

    def send(self, data):
        self.sock.sendall(data)

    def tell(self, command, body=b"", *, patch=None, **fields):
        """Send a request."""
        self.send(self.message(command, body, patch=patch, **fields))

    def ask(self, command, *, patch=None, **fields):
        """Send a request and read its answer."""
        self.tell(command, patch=patch, **fields)
        wire = self.dialect.by_name[command]
        return codec.decode_reply(wire, self.reply(wire.reply.size))

    def reply(self, size):
        """A reply of a known size."""
        data = self.exactly(8 + size)
        assert struct.unpack_from("<Q", data)[0] == size
        return data[8:]

    def exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            assert piece, f"closed after {len(data)} of {size} bytes"
            data += piece
        return data

    def is_closed(self):
        """Whether the server has closed, with nothing more to read."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def alloc(self, size, device=0):
        """(handle, base) of a new buffer."""
        handle = self.ask("ALLOC_BUFFER", device=device, size=size)["remote_ptr"]
        assert handle
        return handle, self.ask("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]

    def get(self, record, offset, size):
        """Data of a tensor."""
        self.tell("GET_TENSOR", tensor=record, offset=offset, size=size)
        return self.reply(size)

    def close(self):
        self.sock.close()


@pytest.fixture
def peer():
    """Connect: `peer(server)`; closed with the test."""
    peers = []

    def begin(server, dialect="7.0.0", **options):
        peers.append(Peer(server, dialect, **options))
        return peers[-1]

    yield begin
    for one in peers:
        one.close()


@pytest.fixture
def client():
    """A well-behaved connection: `client(server).call(...)`."""
    connections = []

    def begin(server):
        connections.append(connect(str(server.endpoint), TIMEOUT))
        return connections[-1]

    yield begin
    for one in connections:
        one.close()


def tensor(handle=0, data=0, *ne, type="F32", op="NONE", src=(), id=1, name="t", **more):
    """A record as a client would send it."""
    full = tuple([*ne, 1, 1, 1, 1][:4])
    ggml_type = TYPES[type]
    values = {
        "id": id,
        "type": ggml_type.id,
        "ne": full,
        "nb": contiguous_nb(ggml_type, full),
        "buffer": handle,
        "data": data,
        "op": NEWEST.ops[op],
        "flags": FLAG_COMPUTE if op != "NONE" else 0,
        "src": tuple([*src, *[0] * 10][:10]),
        "name": name.encode(),
    }
    return TensorRecord(**{**values, **more})


@pytest.fixture(name="tensor")
def tensor_fixture():
    """The function that makes records."""
    return tensor


@pytest.fixture
def add_graph():
    """(nodes, tensors) of c = a + b over 16 floats each, at three places of one buffer."""

    def make(handle, base):
        a = tensor(handle, base, 16, id=11, name="a")
        b = tensor(handle, base + 64, 16, id=12, name="b")
        c = tensor(handle, base + 128, 16, id=13, name="c", op="ADD", src=(11, 12))
        return {"nodes": [13], "tensors": [a, b, c]}

    return make
