"""One blocking TCP connection that can say anything: whole messages, halves, single bytes, nothing.

Knows bytes and times only; what they mean is in link.py.
"""

from __future__ import annotations

import socket
import struct
import time

from ggmlrpc_conformance.faults import NoAnswer, NoServer, StreamEnded

RECEIVE = 1 << 20


def parse_endpoint(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[v6]:port` or `host` (port 50052).

    Raises:
        ValueError: the port is no number.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return text.strip("[]"), 50052
    return host.strip("[]") or "127.0.0.1", int(port)


class Socket:
    """A connected stream.

    Args:
        address: host and port.
        timeout: seconds for the connection, and for each wait.
    """

    def __init__(self, address: tuple[str, int], *, timeout: float) -> None:
        try:
            self._sock = socket.create_connection(address, timeout=timeout)
        except OSError as exc:
            raise NoServer("a connection", f"{type(exc).__name__}: {exc}") from exc
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self._received = bytearray()

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send bytes.

        Raises:
            StreamEnded: the peer has closed.
            NoAnswer: the peer does not read.
        """
        self._sock.settimeout(self.timeout)
        try:
            for piece in pieces:
                self._sock.sendall(piece)
        except TimeoutError as exc:
            raise NoAnswer(
                "the request to be read", f"no room to send within {self.timeout:g} s"
            ) from exc
        except OSError as exc:
            raise StreamEnded("the request to be read", "closed", reset=True) from exc

    def trickle(self, data: bytes) -> None:
        """Send byte by byte."""
        for i in range(len(data)):
            self.send(data[i : i + 1])

    def receive(self, size: int, *, what: str) -> bytearray:
        """Exactly `size` bytes.

        Raises:
            StreamEnded: the peer closed before.
            NoAnswer: they did not come within the timeout.
        """
        deadline = time.monotonic() + self.timeout
        got = self._received
        while len(got) < size:
            self._sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                piece = self._sock.recv(min(max(size - len(got), 4096), RECEIVE))
            except TimeoutError as exc:
                raise NoAnswer(
                    what, f"{len(got)} of {size} bytes within {self.timeout:g} s"
                ) from exc
            except OSError as exc:
                raise StreamEnded(what, f"reset after {len(got)} bytes", reset=True) from exc
            if not piece:
                raise StreamEnded(what, f"closed after {len(got)} of {size} bytes")
            got += piece
            if len(piece) == RECEIVE:  # a large answer that comes in is progress
                deadline = time.monotonic() + self.timeout
        taken = got[:size]
        del got[:size]
        return taken

    def pending(self, *, wait: float = 0.0) -> bytes:
        """What has arrived and was not asked for, without taking it; empty at the end of the stream too."""
        if not self._received:
            self._sock.settimeout(max(wait, 0.0005))
            try:
                self._received += self._sock.recv(RECEIVE)
            except (TimeoutError, OSError):
                return b""
        return bytes(self._received)

    def half_close(self) -> None:
        """Send FIN; answers can still be read."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the peer was quicker

    def reset(self) -> None:
        """Leave with RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def close(self) -> None:
        """Leave with FIN, or RST when there is something that was not read."""
        self._sock.close()
