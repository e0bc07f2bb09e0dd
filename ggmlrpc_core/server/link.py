"""The socket of one connection, under the engine: receive, send, notice that the peer is gone.

Patience is the kernel's business (SO_RCVTIMEO, SO_SNDTIMEO): a timeout costs no system call per
message. Knows no command.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Iterator
from time import monotonic

from ggmlrpc_core.engine.connection import Connection
from ggmlrpc_core.engine.events import NEED_DATA, Event
from ggmlrpc_core.engine.state import State
from ggmlrpc_core.errors import ConnectionLost, TruncatedFrame
from ggmlrpc_core.server.limits import ServerLimits

RECEIVE_SIZE = 64 * 1024
"""Bytes asked for at once between bodies: the most of an upload that is copied twice."""
_SMALL_REPLY = 64 * 1024
"""Bytes up to which a reply is sent in one piece, also where there is no sendmsg."""


class SocketLink:
    """One connection of a client.

    Args:
        sock: connected; closed by the owner.
        conn: the engine that reads from it.
        limits: for the timeouts.
    """

    def __init__(self, sock: socket.socket, conn: Connection, *, limits: ServerLimits) -> None:
        self._sock = sock
        self._conn = conn
        self._limits = limits
        self._room = memoryview(bytearray(RECEIVE_SIZE))
        self._reading = True
        self._over = False  # shutdown was called
        self._silent = 0.0  # seconds since the last byte, in steps of limits.silence
        self._hello_by: float | None = monotonic() + limits.hello_timeout
        sock.settimeout(None)
        _set_timeout(sock, socket.SO_SNDTIMEO, limits.stall_timeout)
        _set_timeout(sock, socket.SO_RCVTIMEO, limits.hello_timeout)

    def next_event(self) -> Event:
        """The next request, or that the peer closed.

        Raises:
            RemoteProtocolError: from the engine.
            ConnectionLost: the socket failed, or the peer stalled inside a message.
        """
        while (event := self._conn.next_event()) is NEED_DATA:
            self._receive_some()
        if self._hello_by is not None:
            self._hello_by = None
            _set_timeout(self._sock, socket.SO_RCVTIMEO, self._limits.silence)
        return event

    @property
    def answer_due(self) -> bool:
        """Whether the request at hand is answered in this dialect."""
        return self._conn.state is State.ANSWERING

    def receive(self, into: memoryview) -> None:
        """Fill memory with the next bytes of a body, straight from the socket.

        Raises:
            TruncatedFrame: the peer closed before.
            ConnectionLost: the socket failed, or the peer stalled.
        """
        done = self._conn.take_body(into)
        while done < len(into):
            try:
                n = self._sock.recv_into(into[done:])
            except OSError as exc:
                raise self._lost(exc) from exc
            if n == 0:
                left = self._conn.body_left
                raise TruncatedFrame("body", "bytes missing at its end", left, "0")
            self._conn.body_received(n)
            done += n

    def send(self, data: bytes) -> None:
        """Send all of it."""
        try:
            self._sock.sendall(data)
        except OSError as exc:
            raise self._lost(exc) from exc

    def send_data(self, size: int, pieces: Iterator[memoryview]) -> None:
        """Answer with tensor data, straight from the memory it is in."""
        head = self._conn.reply_head(size)
        try:
            for piece in pieces:
                if head:
                    self._send_both(head, piece)
                    head = b""
                else:
                    self._sock.sendall(piece)
            if head:
                self._sock.sendall(head)
        except OSError as exc:
            raise self._lost(exc) from exc

    def peer_left(self) -> bool:
        """Whether the peer has closed, seen without taking anything from the stream.

        A peer that has only closed its sending side looks the same; it is given the time that a
        wait for the device takes before somebody asks.
        """
        if self._over:
            return True
        if not self._reading:
            return False  # our own end of the stream looks like the peer's
        try:
            return _readable(self._sock) and self._sock.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True

    def peer_speaks(self, seconds: float) -> bool:
        """Whether bytes of a next request are here, or come within a time; none is taken from the stream."""
        if not self._conn.between_messages:
            return True
        try:
            return _readable(self._sock, seconds) and self._sock.recv(1, socket.MSG_PEEK) != b""
        except (OSError, ValueError):
            return False

    def end_reading(self) -> None:
        """Take no more requests; what is due can still be sent. From any thread."""
        self._reading = False
        try:
            self._sock.shutdown(socket.SHUT_RD)
        except OSError:
            return  # not connected any more

    def shutdown(self) -> None:
        """End the stream in both directions; wakes whoever waits on it. From any thread."""
        self._over = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # not connected any more

    def _receive_some(self) -> None:
        try:
            n = self._sock.recv_into(self._room)
        except (BlockingIOError, TimeoutError) as exc:
            if self._hello_by is not None:
                raise self._late() from exc
            if self._conn.between_messages:
                self._idle()
                return
            raise self._lost(exc) from exc
        except OSError as exc:
            raise self._lost(exc) from exc
        if self._hello_by is not None and monotonic() > self._hello_by:
            raise self._late()
        self._silent = 0.0
        self._conn.receive_data(self._room[:n])

    def _idle(self) -> None:
        """Nothing has come for a while between two messages: a client may stay that long, or for ever."""
        self._silent += self._limits.silence
        most = self._limits.idle_timeout
        if most is not None and self._silent >= most:
            raise ConnectionLost("connection", "messages", "none", f"one within {most:g} seconds")

    def _send_both(self, head: bytes, piece: memoryview) -> None:
        """Head and first piece in one packet where they are small."""
        if len(piece) <= _SMALL_REPLY:
            self._sock.sendall(b"".join((head, piece)))
        else:
            self._sock.sendall(head)
            self._sock.sendall(piece)

    def _late(self) -> ConnectionLost:
        limit = self._limits.hello_timeout
        return ConnectionLost("HELLO", "message", "missing", f"within {limit:g} seconds")

    def _lost(self, exc: OSError) -> ConnectionLost:
        if isinstance(exc, BlockingIOError | TimeoutError):
            limit = f"some within {self._limits.silence:g} seconds"
            return ConnectionLost("connection", "progress inside a message", "none", limit)
        return ConnectionLost("connection", "socket", exc.strerror or type(exc).__name__, "open")


def _readable(sock: socket.socket, seconds: float = 0.0) -> bool:
    """Whether a read would return within a time; for any descriptor where the system has poll."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(int(seconds * 1000)))
    return bool(select.select([sock], [], [], seconds)[0])


def _set_timeout(sock: socket.socket, option: int, seconds: float) -> None:
    """Let one direction of a blocking socket give up after a time."""
    if sys.platform == "win32":
        value = struct.pack("@I", int(seconds * 1000))
    else:
        value = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, option, value)
