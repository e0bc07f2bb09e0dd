"""A server that believes everything: whatever it is sent, it answers with a well-formed answer and goes on.

It allocates without memory and computes nothing, so every case that asks for a refusal must fail on it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from ggmlrpc_core.wire.dialects import Dialect

MAX_ANSWER = 1 << 20


class Credulous:
    """Listens on a free port.

    Attributes:
        address: where it listens.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._handles = 0
        self.dead = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.dead = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self.dead:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, EOFError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                number, size = struct.unpack("<BQ", _exactly(client, 9))
                payload = _exactly(client, size) if size < 1 << 27 else b""
                client.sendall(self._answer(number, payload))

    def _answer(self, number: int, payload: bytes) -> bytes:
        command = self._dialect.by_number.get(number)
        if command is None:
            return struct.pack("<Q", 1) + b"?"
        if command.reply is None:
            return b""
        name = command.name
        if command.reply_body:
            fits = len(payload) >= command.request.size
            size = command.request.unpack(payload)["size"] if fits else 0
            body = bytes(size if size < MAX_ANSWER else 8)
        elif name == "HELLO":
            version = self._dialect.version
            body = bytes([*version]).ljust(command.reply.size, b"\0")
        elif name == "ALLOC_BUFFER":
            self._handles += 1
            body = struct.pack("<QQ", self._handles, (1 << 63) - 1)
        elif name == "BUFFER_GET_BASE":
            handle = struct.unpack_from("<Q", payload.ljust(8, b"\0"))[0]
            body = struct.pack("<Q", (handle & 0xFFFFFF) << 36)
        elif name in ("COPY_TENSOR", "SET_TENSOR_HASH"):
            body = b"\1"
        elif name == "GRAPH_COMPUTE":
            body = b"\0"
        else:
            body = b"\x40".ljust(command.reply.size, b"\0")
        return struct.pack("<Q", len(body)) + body


def _exactly(client: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        piece = client.recv(min(size - len(got), 1 << 20))
        if not piece:
            raise EOFError
        got += piece
    return bytes(got)
