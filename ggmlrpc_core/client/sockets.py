"""An endpoint to a connected socket. Knows no protocol."""

from __future__ import annotations

import socket
from pathlib import Path

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import ConnectionLost, LocalProtocolError

KEEPALIVE_IDLE = 30
"""Seconds of silence before the system asks whether the peer is still there."""


def open_socket(endpoint: Endpoint, timeout: float | None) -> socket.socket:
    """Connect.

    Args:
        endpoint: where to.
        timeout: seconds for connecting and for each later send and receive; None waits for ever.

    Raises:
        ConnectionLost: nobody listens there, the name is unknown, or the time is up.
        LocalProtocolError: port 0, or a Unix socket where the system has none.
    """
    try:
        if endpoint.unix_path is not None:
            return _unix_socket(endpoint.unix_path, timeout)
        if endpoint.port == 0:
            raise LocalProtocolError("connect", "port", 0, "a number from 1 to 65535")
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
    except OSError as exc:
        reason = exc.strerror or str(exc) or type(exc).__name__
        raise ConnectionLost("connect", str(endpoint), reason, "a server that listens") from exc
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # not on every system
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    return sock


def _unix_socket(path: Path, timeout: float | None) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise LocalProtocolError("connect", "endpoint", f"unix:{path}", "host:port on this system")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock
