"""Endpoints as text: where a server listens and where a client connects. No socket, no protocol.

HOST:PORT      name or IPv4 address
[IPV6]:PORT    IPv6 address
HOST, PORT     the other one is the default: 127.0.0.1, 50052; a bare IPv6 address is a host
unix:/path     Unix socket
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ggmlrpc_core.errors import LocalProtocolError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50052
UNIX_PREFIX = "unix:"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen or to connect.

    Attributes:
        host: name or address; "unix:/path" for a Unix socket.
        port: TCP port, 0 for a free one to listen on; 0 for a Unix socket.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read an endpoint in one of the forms above.

        Raises:
            LocalProtocolError: the port is not a number from 0 to 65535, the path is empty, or an IPv6 address with a
                port has no brackets.
        """
        if text.startswith(UNIX_PREFIX):
            if text == UNIX_PREFIX:
                raise LocalProtocolError("endpoint", "path", "empty", "unix:/path/of/socket")
            return cls(text, 0)
        if text.isascii() and text.isdigit():
            text = f":{text}"
        host, colon, port = text.rpartition(":")
        if ":" in host and not host.startswith("["):
            _require_ipv6(text)
            colon = ""
        if not colon or "]" in port:
            host, port = text, str(DEFAULT_PORT)
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise LocalProtocolError("endpoint", "port", port, "a number from 0 to 65535")
        return cls(host.strip("[]") or DEFAULT_HOST, int(port))

    @property
    def unix_path(self) -> Path | None:
        """The path of a Unix socket; None for TCP."""
        if self.host.startswith(UNIX_PREFIX):
            return Path(self.host.removeprefix(UNIX_PREFIX))
        return None

    @property
    def local_only(self) -> bool:
        """Whether only this machine can connect."""
        return (
            self.unix_path is not None
            or self.host in ("localhost", "::1")
            or self.host.startswith("127.")
        )

    def __str__(self) -> str:
        if self.unix_path is not None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


DEFAULT_ENDPOINT = Endpoint()


def _require_ipv6(text: str) -> None:
    """Several colons without brackets: an address and nothing else."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError as exc:
        expected = "HOST:PORT, [IPV6]:PORT or unix:/path"
        raise LocalProtocolError("endpoint", "text", repr(text), expected) from exc
