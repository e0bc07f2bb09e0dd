"""What a server counts, so that somebody can look inside: clients, commands, bytes, times of graphs.

Counting must cost next to nothing on the path of a token: a client's numbers are written by its own thread, those of a
device by the device's thread, without locks; readers may see them a moment apart.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

GRAPH_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper bounds of the classes that times of graphs are counted in; a last class has no bound."""


@dataclass(slots=True)
class GraphTimes:
    """How long graphs ran on one device.

    Attributes:
        counts: graphs by class, of GRAPH_SECONDS and above.
        seconds: of all together.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(GRAPH_SECONDS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more; on the device's thread."""
        self.counts[bisect_left(GRAPH_SECONDS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True, eq=False)
class ClientCounters:
    """One client; written by the thread that serves it.

    Attributes:
        label: short id and address, as in the log.
        since: when it connected, seconds since the epoch.
        commands: requests by name.
        received, sent: bytes of payloads.
        uploaded: bytes of tensor data among the received.
        graphs: how many it asked to run.
    """

    label: str
    since: float = field(default_factory=time.time)
    commands: Counter[str] = field(default_factory=Counter)
    received: int = 0
    sent: int = 0
    uploaded: int = 0
    graphs: int = 0

    def request(self, command: str, size: int, body: int) -> None:
        """One request has arrived; its body is on its way."""
        self.commands[command] += 1
        self.received += size
        self.uploaded += body


class Counters:
    """All clients of a server, those that are gone in one sum.

    Attributes:
        connections: accepted since the start.
        refused: closed because there were too many, or because of their address.
        faults: closed because of what they sent or what happened to their work.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.refused = 0
        self.faults = 0
        self.since = time.time()
        self._lock = threading.Lock()
        self._live: list[ClientCounters] = []
        self._gone = ClientCounters("")
        self._graphs: dict[str, GraphTimes] = {}

    def enter(self, client: ClientCounters) -> None:
        """A client is there."""
        with self._lock:
            self.connections += 1
            self._live.append(client)

    def leave(self, client: ClientCounters, *, fault: bool) -> None:
        """A client is gone; `fault` when it was closed for a reason."""
        with self._lock:
            self._live.remove(client)
            _add(self._gone, client)
            self.faults += fault

    def refuse(self) -> None:
        """A connection was closed before it was served."""
        with self._lock:
            self.refused += 1

    def graph_times(self, device: str) -> GraphTimes:
        """Those of a device."""
        with self._lock:
            return self._graphs.setdefault(device, GraphTimes())

    def total(self) -> ClientCounters:
        """The sum of all clients since the start."""
        total = ClientCounters("", since=self.since)
        with self._lock:
            for client in (self._gone, *self._live):
                _add(total, client)
        return total


def _add(total: ClientCounters, one: ClientCounters) -> None:
    total.commands.update(dict(one.commands))  # a copy: its own thread may be counting
    total.received += one.received
    total.sent += one.sent
    total.uploaded += one.uploaded
    total.graphs += one.graphs
