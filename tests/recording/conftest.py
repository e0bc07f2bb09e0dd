"""A server with the reference device, a recorder before it, and a client that does a bit of everything."""

import socket
import struct
import threading

import numpy as np
import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, contiguous_nb
from ggmlrpc_core.recording.capture import Options
from ggmlrpc_core.recording.proxy import Recorder, Route
from ggmlrpc_core.server.server import Server
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import dialect
from ggmlrpc_core.wire.tensors import TensorRecord

TIMEOUT = 30.0
ANY_PORT = Endpoint("127.0.0.1", 0)


@pytest.fixture
def serve():
    """Start a server of ours: `serve(dialect="7.0.0", devices=1)`; gives its endpoint."""
    servers = []

    def begin(name="7.0.0", *, devices=1, memory=1 << 24):
        opens = [lambda i=i: ReferenceDevice(f"REF{i}", total=memory) for i in range(devices)]
        server = Server(opens, endpoint="127.0.0.1:0", dialect=dialect(name))
        server.start()
        servers.append(server)
        return server.endpoint

    yield begin
    for server in servers:
        server.close()


@pytest.fixture
def record(tmp_path):
    """Start a recorder: `record(endpoint, ..., **options)`; writes to tmp_path/x.ggrec."""
    recorders = []

    def begin(*targets, **options):
        routes = [Route(ANY_PORT, target) for target in targets]
        recorders.append(Recorder(tmp_path / "x.ggrec", routes, options=Options(**options)))
        return recorders[-1]

    yield begin
    for recorder in recorders:
        recorder.close()


class Client:
    """Requests as a stock client of a dialect makes them; what it hears comes back as it is."""

    def __init__(self, endpoint, name="7.0.0"):
        self.dialect = dialect(name)
        self.sock = socket.create_connection((endpoint.host, endpoint.port), timeout=TIMEOUT)
        try:
            if "HELLO" in self.dialect.by_name:
                self.ask("HELLO", conn_caps=b"")
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def message(self, command, body=b"", **fields):
        wire = self.dialect.by_name[command]
        payload = codec.encode_request(self.dialect, wire, fields) + body
        return struct.pack("<BQ", wire.number, len(payload)) + payload

    def tell(self, command, body=b"", **fields):
        """Send; wait for the answer where the dialect has one."""
        self.sock.sendall(self.message(command, body, **fields))
        reply = self.dialect.by_name[command].reply
        return None if reply is None else self.reply()

    def ask(self, command, **fields):
        return codec.decode_reply(self.dialect.by_name[command], self.tell(command, **fields))

    def reply(self):
        (size,) = struct.unpack("<Q", self.exactly(8))
        return self.exactly(size)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            assert piece, "closed by the server"
            data += piece
        return data

    def alloc(self, size, device=0):
        handle = self.ask("ALLOC_BUFFER", device=device, size=size)["remote_ptr"]
        return handle, self.ask("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]

    def get(self, tensor, size):
        return self.tell("GET_TENSOR", tensor=tensor, offset=0, size=size)


@pytest.fixture(name="Client")
def client_class():
    """The class."""
    return Client


def tensor(handle=0, data=0, *ne, type="F32", op="NONE", src=(), id=1, name="t", **more):
    """A record as a client would send it."""
    full = tuple([*ne, 1, 1, 1, 1][:4])
    values = {
        "id": id,
        "type": TYPES[type].id,
        "ne": full,
        "nb": contiguous_nb(TYPES[type], full),
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


def session(client, *, n=64, weights=None, endpoint="127.0.0.1:1"):
    """Upload two vectors, add them, read the sum, change one, compute again, free; gives both sums."""
    handle, base = client.alloc(16 * n)
    w = np.linspace(-1, 1, n, dtype=np.float32).tobytes() if weights is None else weights
    a = tensor(handle, base, n, id=0x7F0011, name="w.weight")
    b = tensor(handle, base + 4 * n, n, id=0x7F0022, name=f"RPC0[{endpoint}]#x#0")
    c = tensor(handle, base + 8 * n, n, id=0x7F0033, name="sum", op="ADD", src=(a.id, b.id))
    client.tell("SET_TENSOR", w, tensor=a, offset=0)
    sums = []
    for k in (1, 2):
        x = np.full(n, k, np.float32) * np.arange(n, dtype=np.float32)
        client.tell("SET_TENSOR", x.tobytes(), tensor=b, offset=0)
        client.tell("GRAPH_COMPUTE", device=0, nodes=[c.id], tensors=[a, b, c])
        sums.append(np.frombuffer(client.get(c, 4 * n), np.float32))
    assert client.get(a, 4 * n) == w
    client.tell("FREE_BUFFER", remote_ptr=handle)
    return sums


@pytest.fixture(name="session")
def session_fixture():
    """The function that is a client's session."""
    return session


@pytest.fixture
def recorded(serve, record, tmp_path):
    """Record the session above: `recorded(dialect)`; gives the path."""

    def make(name="7.0.0", **options):
        recorder = record(serve(name), **{"dialect": dialect(name), **options})
        with Client(recorder.endpoints[0], name) as client:
            session(client, endpoint=str(recorder.endpoints[0]))
        recorder.close()
        return tmp_path / "x.ggrec"

    return make


class LyingServer:
    """Passes everything to a server, but changes answers: `change(command number, payload) -> payload or None`."""

    def __init__(self, target, change, name="7.0.0"):
        self.dialect = dialect(name)
        self.change = change
        self.target = target
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint("127.0.0.1", self.sock.getsockname()[1])
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            with sock, socket.create_connection((self.target.host, self.target.port)) as server:
                try:
                    while self.once(sock, server):
                        pass
                except OSError:
                    pass

    def once(self, sock, server):
        head = exactly(sock, 9)
        if head is None:
            return False
        number, size = struct.unpack("<BQ", head)
        payload = exactly(sock, size)
        if payload is None:
            return False
        server.sendall(head + payload)
        wire = self.dialect.by_number[number]
        if wire.reply is None:
            return True
        answer = exactly(server, 8)
        if answer is None:
            return False
        reply = self.change(wire.name, exactly(server, struct.unpack("<Q", answer)[0]))
        if reply is None:
            return False
        sock.sendall(struct.pack("<Q", len(reply)) + reply)
        return True

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(TIMEOUT)


def exactly(sock, n):
    data = b""
    while len(data) < n:
        piece = sock.recv(n - len(data))
        if not piece:
            return None
        data += piece
    return data


@pytest.fixture
def liar(serve):
    """A server with changed answers: `liar(change)`; gives its endpoint."""
    liars = []

    def make(change, name="7.0.0"):
        liars.append(LyingServer(serve(name), change, name))
        return liars[-1].endpoint

    yield make
    for one in liars:
        one.close()
