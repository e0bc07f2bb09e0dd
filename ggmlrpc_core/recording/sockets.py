"""Sockets of the proxy and the player: connect, listen, a stream with exact reads. Knows no protocol."""

from __future__ import annotations

import contextlib
import select
import socket
import sys

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import ConnectionLost

RECEIVE = 1 << 16
PIECE = 1 << 20
"""Bytes of a body that are handed on at once."""


class Ended(Exception):
    """The other side closed; carries the bytes of an unfinished read."""

    def __init__(self, partial: bytes = b"") -> None:
        super().__init__(partial)
        self.partial = partial


class Stream:
    """A connected socket with exact reads.

    Args:
        sock: closed by close().
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    def exactly(self, n: int) -> bytes:
        """The next n bytes.

        Raises:
            Ended: the other side closed before; carries what there was.
            TimeoutError: nothing came for the socket's timeout.
        """
        while len(self._buffer) < n:
            self._buffer += self._receive(max(RECEIVE, n - len(self._buffer)))
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    def some(self, n: int) -> bytes:
        """Between 1 and n bytes; raises as exactly()."""
        if not self._buffer:
            return self._receive(min(n, PIECE))
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    @property
    def waiting(self) -> bool:
        """Whether bytes are here already."""
        return bool(self._buffer)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all.

        Raises:
            Ended: the other side is gone.
        """
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise
        except OSError as exc:
            raise Ended from exc

    def close(self) -> None:
        """Close; twice is fine."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _receive(self, n: int) -> bytes:
        try:
            data = self.sock.recv(n)
        except TimeoutError:
            raise
        except (OSError, ValueError) as exc:
            raise Ended(self._drain()) from exc
        if not data:
            raise Ended(self._drain())
        return data

    def _drain(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


def readable(*socks: socket.socket, timeout: float | None) -> list[socket.socket]:
    """Those of some sockets that have bytes or an end; a closed one counts as readable."""
    if any(sock.fileno() < 0 for sock in socks):
        return [sock for sock in socks if sock.fileno() < 0]
    if not hasattr(select, "poll"):
        return select.select(socks, [], [], timeout)[0]
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLIN)
    ready = {number for number, _ in poll.poll(None if timeout is None else timeout * 1000)}
    return [sock for sock in socks if sock.fileno() in ready]


def dial(endpoint: Endpoint, timeout: float | None) -> Stream:
    """Connect.

    Raises:
        ConnectionLost: nobody listens there.
    """
    try:
        if endpoint.unix_path is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout)
            sock.connect(str(endpoint.unix_path))
        else:
            sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, AttributeError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConnectionLost("connect", str(endpoint), reason, "a server that listens") from exc
    return Stream(sock)


def listen(endpoint: Endpoint) -> socket.socket:
    """A listening TCP socket.

    Raises:
        OSError: the address is not ours or is taken.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((endpoint.host, endpoint.port))
        sock.listen(128)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"{endpoint}: {exc.strerror}") from exc
    return sock
