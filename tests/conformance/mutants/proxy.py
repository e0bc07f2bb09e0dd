"""A server between the suite and an honest one, which changes what passes at chosen commands.

One thread for each connection. It reads whole requests, so that a lie can be about a command; what it cannot read is
handed on as it is.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ggmlrpc_core.wire.dialects import Dialect, WireCommand

MAX_READ = 1 << 31


@dataclass
class Exchange:
    """One request on its way.

    Attributes:
        command: of the dialect.
        payload: of the request.
        n: number of requests on this connection before this one.
        seen: names of the commands before this one.
    """

    command: WireCommand
    payload: bytes
    n: int
    seen: list[str] = field(default_factory=list)


class Hang(Exception):
    """Say nothing any more on this connection."""


class Die(Exception):
    """End the whole server."""


class Leave(Exception):
    """Close this connection."""


@dataclass(frozen=True)
class Lie:
    """What a mutant does to messages.

    Attributes:
        request: gives the payload that is passed on, None to swallow the request; or raises Hang, Die, Leave.
        answer: gives the bytes that the client gets for an answer payload, None for nothing at all.
        made_up: the answer payload for a swallowed request that has one.
        after_silence: bytes sent after a request that has no answer.
        never_closes: when the honest server closes, the client hears nothing.
        dies_with_faults: when the honest server closes by itself, this one ends.
        dies_with_clients: when a client leaves inside a message, this one ends.
        keeps_connections: the honest server does not learn that a client has left.
        one_at_a_time: a second connection waits.
        pauses_break: a message that comes in pieces closes the connection.
    """

    request: Callable[[Exchange], bytes | None] | None = None
    answer: Callable[[Exchange, bytes], bytes | None] | None = None
    made_up: Callable[[Exchange], bytes] | None = None
    after_silence: bytes = b""
    never_closes: bool = False
    dies_with_faults: bool = False
    dies_with_clients: bool = False
    keeps_connections: bool = False
    one_at_a_time: bool = False
    pauses_break: bool = False


class Proxy:
    """Listens on a free port and passes on to `inner`.

    Attributes:
        address: where it listens.
        n_kept: connections to the honest server whose clients have left.
    """

    def __init__(self, inner: tuple[str, int], dialect: Dialect, lie: Lie) -> None:
        self._inner, self._dialect, self._lie = inner, dialect, lie
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._open: list[socket.socket] = []
        self._kept: list[socket.socket] = []
        self._turn = threading.Lock()
        self.dead = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def n_kept(self) -> int:
        """How many connections leak."""
        return len(self._kept)

    def close(self) -> None:
        """End everything."""
        self.dead = True
        for sock in [self._listener, *self._open, *self._kept]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while not self.dead:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._turn if self._lie.one_at_a_time else contextlib.nullcontext():
            try:
                server = socket.create_connection(self._inner)
            except OSError:
                client.close()
                return
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(server)
            try:
                self._relay(client, server)
            except Die:
                self.close()
            except Hang:
                with contextlib.suppress(OSError):
                    while client.recv(1 << 16):
                        pass
            except (Leave, OSError, ValueError):  # ValueError: closed by another thread
                pass
            finally:
                client.close()
                if self._lie.keeps_connections:
                    self._kept.append(server)
                else:
                    server.close()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        n, seen = 0, []
        while True:
            head = self._read(client, 9, server)
            command = self._dialect.by_number.get(head[0])
            size = struct.unpack_from("<Q", head, 1)[0]
            if command is None or size > MAX_READ or not _fits(command, size):
                server.sendall(head)
                self._raw(client, server)
                raise Leave
            payload = self._read(client, size, server, sent=head)
            exchange = Exchange(command, payload, n, seen)
            n, seen = n + 1, [*seen, command.name]
            self._pass_on(exchange, client, server)

    def _pass_on(self, x: Exchange, client: socket.socket, server: socket.socket) -> None:
        lie = self._lie
        payload = lie.request(x) if lie.request else x.payload
        if payload is None:
            if x.command.reply is not None:
                client.sendall(_framed(lie.made_up(x) if lie.made_up else _zeros(x)))
            return
        server.sendall(struct.pack("<BQ", x.command.number, len(payload)) + payload)
        if x.command.reply is None:
            if lie.after_silence:
                client.sendall(lie.after_silence)
            return
        head = self._answer(server, 8)
        body = self._answer(server, struct.unpack("<Q", head)[0])
        if lie.answer is None:
            client.sendall(head + body)
            return
        changed = lie.answer(x, body)
        if changed is not None:
            client.sendall(changed)

    def _raw(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on bytes that cannot be read, both ways, until either side ends."""

        def up() -> None:
            with contextlib.suppress(OSError):
                while data := client.recv(1 << 16):
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)

        threading.Thread(target=up, daemon=True).start()
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        self._closed_by_server()

    def _closed_by_server(self) -> None:
        if self._lie.dies_with_faults:
            raise Die
        if self._lie.never_closes:
            raise Hang

    def _answer(self, server: socket.socket, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            try:
                piece = server.recv(min(size - len(got), 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                self._closed_by_server()
                raise Leave
            got += piece
        return bytes(got)

    def _read(
        self, client: socket.socket, size: int, server: socket.socket, *, sent: bytes = b""
    ) -> bytes:
        """Bytes of a request; looks at the server too, which may close at any time."""
        got = bytearray()
        while len(got) < size:
            if not got and not sent:
                self._wait(client, server)
            try:
                piece = client.recv(min(size - len(got), 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                if (got or sent) and self._lie.dies_with_clients:
                    raise Die
                raise Leave
            got += piece
            if self._lie.pauses_break and len(got) < size:
                raise Leave
        return bytes(got)

    def _wait(self, client: socket.socket, server: socket.socket) -> None:
        """Until the client says something, or the server has closed."""
        import select

        while True:
            ready, _, _ = select.select([client, server], [], [], 10)
            if client in ready:
                return
            if server in ready and not server.recv(1, socket.MSG_PEEK):
                self._closed_by_server()
                raise Leave


def _fits(command: WireCommand, size: int) -> bool:
    request = command.request
    return size == request.size if request.complete else size >= request.size


def _framed(payload: bytes) -> bytes:
    return struct.pack("<Q", len(payload)) + payload


def _zeros(x: Exchange) -> bytes:
    assert x.command.reply is not None
    if x.command.reply_body:
        size = x.command.request.unpack(x.payload)["size"]
        return bytes(min(size, 1 << 24))
    return bytes(x.command.reply.size)
