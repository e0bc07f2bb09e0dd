"""A blocking socket around the client engine: requests, bodies without a copy, errors that say what happened.

Knows no tensor and no graph, see remote.py; how a connection begins is in greeting.py.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.engine import NEED_DATA, PEER_CLOSED, Connection, Reply
from ggmlrpc_core.errors import (
    ConnectionLost,
    GgmlRpcError,
    LocalProtocolError,
    RemoteProtocolError,
    TruncatedFrame,
    UnsupportedOp,
)
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.version import ProtocolVersion

DEFAULT_TIMEOUT = 60.0
"""Seconds without progress before a connection is given up; a graph may compute for that long."""

MAX_SEND = 1 << 30
"""Bytes per send call: some systems refuse more."""

_RECEIVE = 4096
_REMEMBERED = 8  # unanswered commands named when a connection is lost


class ClientConnection:
    """One connection to one server, usable from several threads: a lock is held from request to answer.

    Commands that have no answer return when they are written; a fault of theirs shows at a later call as a
    ConnectionLost that names them.

    Attributes:
        endpoint: where the server is.
        dialect: what is spoken.
        candidates: the states that the server may be of; more than one while its version hides several numberings and
            nobody knows which it has. They agree in everything but numbers and meanings.
        server_version: as announced in HELLO; None before HELLO existed.
        lock: held during each exchange; whoever needs several in a row takes it first.
    """

    def __init__(self, sock: socket.socket, endpoint: Endpoint, *, engine: Connection) -> None:
        self.endpoint = endpoint
        self.server_version: ProtocolVersion | None = None
        self._sock = sock
        self._engine = engine
        self.candidates: tuple[Dialect, ...] = (engine.dialect,)
        self.lock = threading.RLock()
        self._lost: GgmlRpcError | None = None
        self._unanswered: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def dialect(self) -> Dialect:
        """What is spoken."""
        return self._engine.dialect

    def speak(self, candidates: Sequence[Dialect]) -> None:
        """Speak one of these states, the last, and remember that the server may be of any of them."""
        self.candidates = tuple(candidates)
        self._engine.dialect = self.candidates[-1]

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self._lost is not None

    def call(self, command: str, *, body: Any = None, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer where the dialect has one.

        Args:
            command: name, "ALLOC_BUFFER".
            body: data of SET_TENSOR, any contiguous buffer; sent from where it is.
            fields: of the request, as in wire/schema.py.

        Returns:
            Fields of the answer; {} where there is none.

        Raises:
            ConnectionLost: the server is gone or silent. The connection is closed.
            RemoteProtocolError: the answer breaks the protocol. The connection is closed.
            LocalProtocolError: the fields do not fit the command; nothing was sent.
            UnsupportedOp: the dialect has no number for an op or type in them; nothing was sent.
        """
        with self.lock, self._whole(command):
            self._send(command, body, fields)
            wire = self.dialect.by_name[command]
            if wire.reply is None:
                self._unanswered.append(command)
                return {}
            return dict(self._wait(command).fields)

    def fetch(self, command: str, into: memoryview, **fields: Any) -> None:
        """Send a request whose answer is data (GET_TENSOR) and receive it into memory.

        Args:
            into: as many bytes as are asked for; `size` is set from it.

        Raises:
            As call. On ConnectionLost the memory may hold a part.
        """
        with self.lock, self._whole(command):
            self._send(command, None, {"size": len(into), **fields})
            self._wait(command)
            at = self._engine.take_body(into)
            while at < len(into):
                n = self._receive_into(command, into[at : at + MAX_SEND])
                if n == 0:
                    self._fail(command, "closed by the server", f"{len(into) - at} more bytes")
                self._engine.body_received(n)
                at += n

    def close(self) -> None:
        """Close; the server frees everything of this connection. Calling it twice is fine."""
        self._shut(LocalProtocolError("connection", "state", "closed", "open"))

    def __enter__(self) -> ClientConnection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside

    @contextmanager
    def _whole(self, command: str) -> Iterator[None]:
        """Close when an exchange is left in the middle, for example by Ctrl-C: what comes next is lost."""
        try:
            yield
        except GgmlRpcError:
            raise  # either nothing was sent, or the connection is closed already
        except BaseException as exc:
            left = f"left in the middle of an exchange by {type(exc).__name__}"
            self._shut(ConnectionLost(command, "connection", left, "a whole exchange"))
            raise

    def _send(self, command: str, body: Any, fields: dict[str, Any]) -> None:
        if self._lost is not None:
            raise type(self._lost)(*self._lost.args[:4], context=self._lost.context)
        data = _octets(body)
        options = {"body_size": len(data)} if len(data) else {}
        try:
            head = self._engine.request(command, **options, **fields)
        except KeyError as exc:
            what = "op, function or type"
            known = f"one of protocol {self.dialect.name}"
            raise UnsupportedOp(command, what, exc.args[0], known) from exc
        try:
            self._write(head, data)
        except OSError as exc:
            self._fail(command, _reason(exc), "the request to be taken", cause=exc)
        if len(data):
            self._engine.body_sent()

    def _write(self, head: bytes, body: memoryview) -> None:
        if not len(body):
            self._sock.sendall(head)
            return
        if hasattr(self._sock, "sendmsg"):
            sent = self._sock.sendmsg([head, body[:MAX_SEND]])
            if sent < len(head):
                self._sock.sendall(memoryview(head)[sent:])
            at = max(0, sent - len(head))
        else:
            self._sock.sendall(head)
            at = 0
        while at < len(body):
            at += self._sock.send(body[at : at + MAX_SEND])

    def _wait(self, command: str) -> Reply:
        engine = self._engine
        try:
            while True:
                event = engine.next_event()
                if isinstance(event, Reply):
                    self._unanswered.clear()
                    return event
                if event is PEER_CLOSED:
                    self._fail(command, "closed by the server", "an answer")
                assert event is NEED_DATA
                engine.receive_data(self._receive(command, max(engine.bytes_wanted, _RECEIVE)))
        except TruncatedFrame as exc:
            self._fail(command, "closed by the server", "an answer", cause=exc)
        except RemoteProtocolError as exc:
            self._shut(exc)
            raise

    def _receive(self, command: str, size: int) -> bytes:
        try:
            return self._sock.recv(size)
        except OSError as exc:
            self._fail(command, _reason(exc), "an answer", cause=exc)

    def _receive_into(self, command: str, into: memoryview) -> int:
        try:
            return self._sock.recv_into(into)
        except OSError as exc:
            self._fail(command, _reason(exc), f"{len(into)} more bytes", cause=exc)

    def _fail(
        self, command: str, got: str, expected: str, *, cause: BaseException | None = None
    ) -> NoReturn:
        context = f"server {self.endpoint}, protocol {self.dialect.version}"
        if self._unanswered:
            context += ", sent before and not answered: " + ", ".join(self._unanswered)
        lost = ConnectionLost(command, "connection", got, expected, context=context)
        self._shut(lost)
        raise lost from cause

    def _shut(self, reason: GgmlRpcError) -> None:
        if self._lost is None:
            self._lost = reason
            self._engine.close()
            self._sock.close()


def _octets(body: Any) -> memoryview:
    """The bytes of a buffer without a copy."""
    if body is None:
        return memoryview(b"")
    view = memoryview(body)
    if view.nbytes == 0:
        return memoryview(b"")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _reason(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return "silent for longer than the timeout"
    return exc.strerror or str(exc) or type(exc).__name__
