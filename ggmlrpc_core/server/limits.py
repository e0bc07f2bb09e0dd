"""What one server grants: memory, clients, message sizes, patience.

Every number is a bound on what strangers may cost; None means "what the device has". Knows no
socket and no device.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

from ggmlrpc_core.engine.limits import DEFAULT_MAX_MESSAGE

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of a server.

    Attributes:
        memory_total: bytes of all buffers of all clients together.
        memory_per_client: bytes of the buffers of one client.
        buffers_per_client: live buffers of one client, those of size 0 included. A client has a
            few per device; the bound keeps empty ones from piling up.
        max_clients: connections at once; more are closed as they come.
        max_message: bytes of one message that is held in memory (uploads are not).
        graph_work: operations of one graph, estimated from its shapes. A prompt of 4096 tokens for a
            model of 400 billion weights is 3e15 on one server.
        hello_timeout: seconds until the first message must be there in full.
        stall_timeout: seconds without progress inside a message, in either direction. Between
            messages a client may be silent for as long as it likes.
        idle_timeout: seconds without a message after which a client is closed; bounds a stall, too. None for no
            bound: stock clients keep a connection and say nothing while their user thinks.
        allow: networks whose addresses may connect; empty for all. Unix sockets are for their file's mode to guard.
    """

    memory_total: int | None = None
    memory_per_client: int | None = None
    buffers_per_client: int = 65536
    max_clients: int = 64
    max_message: int = DEFAULT_MAX_MESSAGE
    graph_work: float = 1e17
    hello_timeout: float = 10.0
    stall_timeout: float = 60.0
    idle_timeout: float | None = None
    allow: tuple[Network, ...] = ()

    def __str__(self) -> str:
        """The bounds for the banner."""
        parts = [
            f"{self.max_clients} clients",
            f"{_size(self.memory_total)} in all",
            f"{_size(self.memory_per_client)} per client",
            f"messages of {_size(self.max_message)}",
            f"{self.graph_work:.0e} operations a graph",
            "idle clients stay" if self.idle_timeout is None else f"{self.idle_timeout:g} s idle",
        ]
        if self.allow:
            parts.append("from " + ", ".join(map(str, self.allow)))
        return ", ".join(parts)

    @property
    def silence(self) -> float:
        """Seconds after which a connection without bytes is looked at."""
        return min(self.stall_timeout, self.idle_timeout or self.stall_timeout)

    def allows(self, peer: str) -> bool:
        """Whether an address, without port, may connect."""
        if not self.allow or peer == "unix":
            return True
        address = ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self.allow)


def _size(size: int | None) -> str:
    return "any memory" if size is None else f"{size >> 20} MiB"


DEFAULT_LIMITS = ServerLimits()


@dataclass(slots=True)
class Budget:
    """Bytes in use against a bound, for several threads.

    Attributes:
        bound: bytes; None for no bound.
        used: bytes taken and not given back.
    """

    bound: int | None = None
    used: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, size: int) -> bool:
        """Reserve bytes; False, and nothing reserved, when they do not fit."""
        with self._lock:
            if self.bound is not None and self.used + size > self.bound:
                return False
            self.used += size
            return True

    def give_back(self, size: int) -> None:
        """Release bytes that were taken."""
        with self._lock:
            self.used -= size

    def figures(self, free: int, total: int) -> tuple[int, int]:
        """(free, total) bytes of a device as they are under this bound."""
        if self.bound is None:
            return free, total
        return min(free, max(0, self.bound - self.used)), min(total, self.bound)
