"""A look inside a server at one moment, as plain values: for `/status`, `/metrics` and `ggmlrpc top`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from ggmlrpc_core.server.counters import ClientCounters

if TYPE_CHECKING:
    from ggmlrpc_core.server.server import Server


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """A connected client; bytes and counts since it connected."""

    label: str
    dialect: str
    seconds: float
    memory: int
    received: int
    sent: int
    graphs: int
    commands: dict[str, int]


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A device.

    Attributes:
        queue: jobs that wait.
        busy_seconds: that its thread has worked since the start.
        graphs: that ran, by class of GRAPH_SECONDS.
        graph_seconds: of them together.
    """

    name: str
    description: str
    queue: int
    busy_seconds: float
    graphs: tuple[int, ...]
    graph_seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """A server; bytes and counts since it started.

    Attributes:
        memory_limit: bytes of all buffers together; None for no bound.
    """

    version: str
    endpoints: dict[str, str]
    seconds: float
    connections: int
    refused: int
    faults: int
    memory: int
    memory_limit: int | None
    received: int
    sent: int
    commands: dict[str, int]
    devices: tuple[DeviceStatus, ...]
    clients: tuple[ClientStatus, ...]


def status_of(server: Server) -> Status:
    """Look now; asks no device anything, so it answers while all of them compute."""
    counters, now = server.counters, time.time()
    total = counters.total()
    devices = []
    for worker in dict.fromkeys(served.worker for served in server.devices):
        times = counters.graph_times(worker.name)
        devices.append(
            DeviceStatus(
                name=worker.name,
                description=worker.device.description,
                queue=worker.queued,
                busy_seconds=worker.busy_seconds,
                graphs=tuple(times.counts),
                graph_seconds=times.seconds,
            )
        )
    return Status(
        version=version("ggmlrpc"),
        endpoints={str(where): str(offer) for where, offer in server.offers},
        seconds=now - counters.since,
        connections=counters.connections,
        refused=counters.refused,
        faults=counters.faults,
        memory=server.memory_used,
        memory_limit=server.limits.memory_total,
        received=total.received,
        sent=total.sent,
        commands=dict(total.commands),
        devices=tuple(devices),
        clients=tuple(
            _client(connection.counters, connection.memory_used, connection.speaks, now)
            for connection in server.connections()
        ),
    )


def _client(counters: ClientCounters, memory: int, dialect: str, now: float) -> ClientStatus:
    return ClientStatus(
        label=counters.label,
        dialect=dialect,
        seconds=now - counters.since,
        memory=memory,
        received=counters.received,
        sent=counters.sent,
        graphs=counters.graphs,
        commands=dict(counters.commands),
    )
