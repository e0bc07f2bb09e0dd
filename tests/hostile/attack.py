"""One hostile client: a short session of valid requests, some changed in a way that nobody should survive by luck.

The changes know the schema: a field of a head, of a tensor, of one row of a graph; a length; bytes of a message; its
end. Everything is drawn from one random generator, so a session can be had again from its seed.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from ggmlrpc_core.client.serialise import graph_message
from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import TensorRecord

SECRET = bytes.fromhex("5ec4e7b10c5ec4e7b10c")
"""What another client's memory is full of; it must never come back."""
MOST_CASE_BYTES = 1 << 20
EDGES = (0, 1, 2, 3, 7, 31, 32, 33, 255, 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32,
         (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip


class Leaked(Exception):
    """A server answered with bytes of another client."""


@dataclass(slots=True)
class Log:
    """What a session did, to tell what a server died of.

    Attributes:
        sent: a word for each message.
        outcome: "closed", "answered" or "silent" after the last one.
    """

    sent: list[str] = field(default_factory=list)
    outcome: str = ""


class Attacker:
    """A client of one connection.

    Args:
        connect: gives a connected socket.
        dialect: that the server speaks.
        rng: decides everything.
        patience: seconds to wait for an answer that may never come.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        dialect: Dialect,
        rng: random.Random,
        *,
        patience: float = 1.0,
    ) -> None:
        self.log = Log()
        self._dialect = dialect
        self._rng = rng
        self._sock = connect()
        self._sock.settimeout(20.0)
        self._patience = patience
        self._handle = self._base = self._size = 0

    def run(self) -> Log:
        """The whole session; the socket is closed at its end.

        Raises:
            Leaked: an answer holds the secret.
        """
        with self._sock:
            try:
                self._begin()
                for _ in range(self._rng.randint(1, 4)):
                    self._hostile()
                self._end()
            except OSError:
                self.log.outcome = "closed"
        return self.log

    # --- the valid part

    def _begin(self) -> None:
        if "HELLO" in self._dialect.by_name:
            self._ask("HELLO", conn_caps=bytes(24))
        self._size = self._rng.choice((1, 64, 4096, 1 << 20, 1 << 21))
        self._handle = self._ask("ALLOC_BUFFER", device=0, size=self._size)["remote_ptr"]
        self._base = self._ask("BUFFER_GET_BASE", remote_ptr=self._handle)["base_ptr"]
        if self._rng.random() < 0.7:
            data = self._rng.randbytes(min(self._size, 4096))
            fields = {"tensor": self._record(len(data)), "offset": 0}
            self._send(self._message("SET_TENSOR", fields, data))

    def _end(self) -> None:
        """Whether the server still talks to us."""
        self._sock.settimeout(self._patience)
        try:
            self._send(self._message("GET_ALIGNMENT", {"device": 0}))
            while data := self._sock.recv(65536):
                if SECRET in data:
                    raise Leaked(", ".join(self.log.sent))
                self.log.outcome = "answered"
                if self._rng.random() < 0.5:
                    return
            self.log.outcome = "closed"
        except TimeoutError:
            self.log.outcome = self.log.outcome or "silent"

    # --- the hostile part

    def _hostile(self) -> None:
        kind = self._rng.choice(
            ("graph", "graph", "graph", "fields", "fields", "bytes", "length", "cut")
        )
        self.log.sent.append(kind)
        message = self._graph() if kind == "graph" else self._request(change=kind == "fields")
        if kind == "bytes":
            message = self._flip(message)
        elif kind == "length":
            message = message[:1] + struct.pack("<Q", self._edge(len(message) - 9)) + message[9:]
        elif kind == "cut":
            message = message[: self._rng.randrange(len(message) + 1)]
        self._send(message)

    def _request(self, *, change: bool) -> bytes:
        """A request with sensible fields, one to three of them changed."""
        names = [n for n in self._dialect.by_name if n not in ("GRAPH_COMPUTE", "HELLO")]
        name = self._rng.choice(names)
        self.log.sent.append(name)
        size = self._rng.randrange(min(self._size, 4096) + 1)
        record = self._record(size)
        fields: dict[str, Any] = {
            "device": 0, "size": size, "offset": 0, "value": self._rng.randrange(256),
            "remote_ptr": self._handle, "cache_flag": 1, "hash": self._rng.getrandbits(64),
            "tensor": record, "src": record, "dst": record, "srcs": [None] * 10,
        }  # fmt: skip
        body = self._rng.randbytes(size) if name == "SET_TENSOR" else b""
        payload = self._message(name, fields, body)
        if not change:
            return payload
        head = bytearray(payload)
        for _ in range(
            self._rng.randint(1, 3)
        ):  # every field is 1, 4 or 8 bytes at a multiple of 4 or at the end
            width = self._rng.choice((1, 4, 8))
            if len(head) > 9 + width:
                at = 9 + self._rng.randrange((len(head) - 9 - width) // width + 1) * width
                old = int.from_bytes(head[at : at + width], "little")
                head[at : at + width] = self._edge(old).to_bytes(8, "little")[:width]
        return bytes(head)

    def _graph(self) -> bytes:
        """The graph of an op case, one to three fields of its tensors changed."""
        case = self._rng.choice(_small_cases())
        self.log.sent.append(case)
        inputs, outputs = all_cases()[case].make()
        place = SimpleNamespace(
            alignment=32, alloc=lambda size: "memory", alloc_size=lambda tensor, srcs: tensor.nbytes
        )
        allocate([*outputs, *(t for t, _ in inputs.data)], place)
        try:
            nodes, tensors = graph_message(
                inputs.graph(*outputs),
                self._dialect,
                lambda tensor: (self._handle, self._base + tensor.offset),
            )
        except UnsupportedOp:  # the dialect does not have the op
            nodes, tensors = np.zeros(0, "<u8"), np.zeros(0, "u1")
        if len(tensors):
            for _ in range(self._rng.randint(0, 3)):
                self._change(nodes, tensors)
        payload = self._message("GRAPH_COMPUTE", {"device": 0, "nodes": nodes, "tensors": tensors})
        recompute = "GRAPH_RECOMPUTE" in self._dialect.by_name and self._rng.random() < 0.3
        return payload + (self._message("GRAPH_RECOMPUTE", {"device": 0}) if recompute else b"")

    def _change(self, nodes: np.ndarray, tensors: np.ndarray) -> None:
        if self._rng.random() < 0.1:
            nodes[self._rng.randrange(len(nodes))] = self._edge(len(tensors)) & (2**64 - 1)
            return
        row, name = self._rng.randrange(len(tensors)), self._rng.choice(tensors.dtype.names)
        column = tensors[name]
        cell = column[row : row + 1].view("u1")
        width = column.dtype.base.itemsize if column.dtype.kind != "S" else 1
        width = column.dtype.itemsize if column.dtype.kind in "ui" else width
        at = self._rng.randrange(max(1, cell.size // width)) * width
        old = int.from_bytes(cell.reshape(-1)[at : at + width].tobytes(), "little")
        new = self._edge(old).to_bytes(8, "little")[:width]
        cell.reshape(-1)[at : at + len(new)] = np.frombuffer(new, "u1")

    # --- numbers and bytes

    def _edge(self, old: int) -> int:
        """Another number: an edge, a neighbour, a power of two of it, or anything; below 2^64."""
        rng = self._rng
        choices = (
            rng.choice(EDGES), old + rng.choice((-1, 1, -4, 4, 32)), old * 2, old // 2,
            -old, self._size, self._base, self._base + self._size, rng.getrandbits(64), rng.randrange(64),
        )  # fmt: skip
        return rng.choice(choices) % (1 << 64)

    def _flip(self, message: bytes) -> bytes:
        found = bytearray(message)
        for _ in range(self._rng.randint(1, 8)):
            found[self._rng.randrange(len(found))] ^= 1 << self._rng.randrange(8)
        return bytes(found)

    def _record(self, size: int) -> TensorRecord:
        ne, nb = (max(size, 1), 1, 1, 1), (1, size, size, size)
        return TensorRecord(id=1, type=24, ne=ne, nb=nb, buffer=self._handle, data=self._base)

    def _message(self, name: str, fields: dict[str, Any], body: bytes = b"") -> bytes:
        wire = self._dialect.by_name[name]
        payload = codec.encode_request(self._dialect, wire, fields) + body
        return struct.pack("<BQ", wire.number, len(payload)) + payload

    def _send(self, message: bytes) -> None:
        self._sock.sendall(message)

    def _ask(self, name: str, **fields: Any) -> dict[str, Any]:
        self._send(self._message(name, fields))
        wire = self._dialect.by_name[name]
        head = self._exactly(8)
        return codec.decode_reply(wire, self._exactly(struct.unpack("<Q", head)[0]))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (piece := self._sock.recv(size - len(data))):
                raise ConnectionError("closed")
            data += piece
        return data


def _small_cases() -> list[str]:
    """Names of the cases; all of them are small enough for a buffer of two megabytes or are refused for it."""
    return list(all_cases())
