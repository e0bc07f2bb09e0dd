"""What a server says when it starts: the stock server's lines, then what to do next.

Launchers read the stock lines, so labels and their order stay as they are. Returns text only.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ggmlrpc_core.endpoint import DEFAULT_HOST, DEFAULT_PORT, Endpoint
from ggmlrpc_core.wire.dialects import newest
from ggmlrpc_core.wire.version import ProtocolVersion

MIB = 1024 * 1024
_ANY_ADDRESS = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """One device for people: memory in bytes."""

    name: str
    description: str
    free: int
    total: int

    def __str__(self) -> str:
        memory = f"{self.total // MIB} MiB, {self.free // MIB} MiB free"
        return f"{self.name}: {self.description} ({memory})"


def banner(
    version: ProtocolVersion,
    endpoint: Endpoint,
    *,
    cache: Path | None,
    devices: Sequence[DeviceSummary],
) -> str:
    """The lines of the stock server.

    Source: ggml-rpc.cpp ggml_backend_rpc_start_server @ 7.0.0.
    """
    lines = [
        f"Starting RPC server v{version}",
        _labelled("endpoint", str(endpoint)),
        _labelled("local cache", str(cache) if cache else "n/a"),
        "Devices:",
        *(f"  {device}" for device in devices),
        _labelled("transport", "Unix socket" if endpoint.unix_path else "TCP"),
    ]
    return "\n".join(lines)


def dialects_spoken(offers: Sequence[tuple[Endpoint, str]]) -> list[str]:
    """A line for each listener and what is announced there; nothing for one that announces the newest."""
    if len(offers) == 1 and offers[0][1] == newest().name:
        return []
    return [f"{endpoint} announces {name}" for endpoint, name in offers]


def advice(endpoint: Endpoint) -> str:
    """Who can connect now, and what to type there."""
    if endpoint.unix_path is not None:
        return (
            "Only programs of this machine that may open the socket file can connect.\n"
            f"The stock client needs TCP: ggmlrpc serve -H {DEFAULT_HOST}"
        )
    if ":" in endpoint.host and endpoint.host != "::":
        return (
            f"Only our Python client speaks IPv6: rpc_init('{endpoint}').\n"
            f"The stock client speaks IPv4 only: ggmlrpc serve -H {DEFAULT_HOST}"
        )
    if endpoint.local_only:
        port = "" if endpoint.port == DEFAULT_PORT else f" -p {endpoint.port}"
        return (
            f"On this machine: llama-cli --rpc {endpoint} -ngl 99 -m MODEL.gguf\n"
            "Only this machine can connect. To let others in: "
            f"ggmlrpc serve -H 0.0.0.0{port}"
        )
    reachable = Endpoint(likely_address(endpoint), endpoint.port)
    return f"On the client: llama-cli --rpc {reachable} -ngl 99 -m MODEL.gguf"


def warning(endpoint: Endpoint) -> str | None:
    """The warning that belongs to an address that others can reach; None for the rest."""
    if endpoint.local_only:
        return None
    return (
        f"WARNING: {endpoint} can be reached by other machines, and the protocol has no\n"
        "         authentication and no encryption. Whoever reaches the port can use the devices\n"
        "         and read what is sent. Keep it inside a network that you trust, or a tunnel."
    )


def likely_address(endpoint: Endpoint) -> str:
    """The address under which other machines probably reach an endpoint.

    For a wildcard: the source address of the default route; nothing is sent to find it.
    """
    if endpoint.host not in _ANY_ADDRESS:
        return endpoint.host
    # Documentation addresses (RFC 5737, RFC 3849): never on a local network.
    routes = [(socket.AF_INET, "192.0.2.1")]
    if endpoint.host == "::":
        routes.append((socket.AF_INET6, "2001:db8::1"))
    for family, far in routes:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                return probe.getsockname()[0]
        except OSError:
            continue
    return socket.gethostname()


def _labelled(label: str, value: str) -> str:
    return f"  {label:<15}: {value}"
