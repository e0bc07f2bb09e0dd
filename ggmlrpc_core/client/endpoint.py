"""Endpoints: text to a connected socket.

host:port     name or IPv4 address
[::1]:port    IPv6 address
unix:path     Unix socket, where the system has them
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from ggmlrpc_core.errors import ConnectionLost, LocalProtocolError

KEEPALIVE_IDLE = 30
"""Seconds of silence before the system asks whether the peer is still there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed endpoint: host and port, or a path."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Read an endpoint.

    Raises:
        LocalProtocolError: it has none of the three forms.
    """
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Endpoint(path=text[len("unix:") :])
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # an IPv6 address without brackets: where the port begins is a guess
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise LocalProtocolError(
            "connect", "endpoint", repr(text), "host:port, [IPv6 address]:port or unix:path"
        )
    return Endpoint(host=host, port=int(port))


def open_socket(endpoint: Endpoint, timeout: float | None) -> socket.socket:
    """Connect.

    Args:
        endpoint: where to.
        timeout: seconds for connecting and for each later send and receive; None waits for ever.

    Raises:
        ConnectionLost: nobody listens there, the name is unknown, or the time is up.
    """
    try:
        if endpoint.path:
            return _unix_socket(endpoint.path, timeout)
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
    except OSError as exc:
        reason = exc.strerror or str(exc) or type(exc).__name__
        raise ConnectionLost("connect", str(endpoint), reason, "a server that listens") from exc
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # not on every system
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    return sock


def _unix_socket(path: str, timeout: float | None) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise LocalProtocolError("connect", "endpoint", f"unix:{path}", "host:port on this system")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
