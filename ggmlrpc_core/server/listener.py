"""Sockets that clients connect to: TCP over IPv4 and IPv6, and Unix sockets. Knows no protocol."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from pathlib import Path

from ggmlrpc_core.endpoint import Endpoint

BACKLOG = 128


class Listener:
    """A listening socket.

    Args:
        endpoint: where to listen.

    Attributes:
        endpoint: where it listens, the port filled in when 0 was asked for.

    Raises:
        OSError: the address is not ours or is taken.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._path = endpoint.unix_path
        self._identity: tuple[int, int] | None = None
        self._sock = self._bind_unix(self._path) if self._path else self._bind_tcp(endpoint)
        try:
            self._sock.listen(BACKLOG)
        except OSError:
            self.close()
            raise
        port = 0 if self._path else self._sock.getsockname()[1]
        self.endpoint = Endpoint(endpoint.host, port)

    def accept(self) -> tuple[socket.socket, str, str] | None:
        """Wait for a client.

        Returns:
            (connected socket, "address:port", address), or None when the listener was closed.

        Raises:
            OSError: this one client could not be accepted; others may be.
        """
        try:
            sock, address = self._sock.accept()
        except OSError:
            if self._sock.fileno() < 0:
                return None
            raise
        if self._path is not None:
            return sock, "unix socket", "unix"
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:
            sock.close()
            raise
        host = str(address[0]).removeprefix("::ffff:")
        return sock, str(Endpoint(host, address[1])), host

    def close(self) -> None:
        """Stop listening, wake `accept`, remove the file of a Unix socket."""
        # Closing alone leaves a thread in accept() asleep on Linux.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        mine = self._identity  # None once closed
        if self._path is not None and mine is not None and mine == _identity(self._path):
            self._path.unlink()
        self._identity = None

    @staticmethod
    def _bind_tcp(endpoint: Endpoint) -> socket.socket:
        try:
            found = socket.getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except socket.gaierror as exc:
            raise OSError(f"{endpoint.host}: {exc.strerror}") from exc
        # A name may mean both: the stock client speaks IPv4 only.
        found.sort(key=lambda one: one[0] != socket.AF_INET)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            if sys.platform != "win32":  # there it would let two servers share a port
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError as exc:
            sock.close()
            raise OSError(exc.errno, f"{endpoint}: {exc.strerror}") from exc
        return sock

    def _bind_unix(self, path: Path) -> socket.socket:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(f"{path}: this platform has no Unix sockets")
        _remove_dead_socket(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # mode 0600: the file decides who may connect
        try:
            sock.bind(str(path))
        except OSError as exc:
            sock.close()
            raise OSError(exc.errno, f"{path}: {exc.strerror}") from exc
        finally:
            os.umask(before)
        self._identity = _identity(path)
        return sock


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path names now."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove_dead_socket(path: Path) -> None:
    """Remove the socket file of a server that died; one that answers, or another file, stays."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
