"""NullDevice: allocates and computes nothing, for tests of everything but arithmetic."""

from __future__ import annotations

from collections.abc import Callable

from ggmlrpc_core.errors import GraphStopped
from ggmlrpc_core.graph.tensor import Graph
from ggmlrpc_core.testing.host import HostDevice


class NullExecutable:
    """Counts how often it ran."""

    def __init__(self, device: NullDevice, graph: Graph) -> None:
        self._device = device
        self._graph = graph

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Leave all buffers as they are; see Executable.run."""
        if should_stop():
            raise GraphStopped("run", "should_stop", True, "False")
        self._device.ran.append(self._graph)


class NullDevice(HostDevice):
    """Memory without arithmetic.

    Attributes:
        ran: the graphs that ran, in order.
    """

    description = "computes nothing"

    def __init__(self, name: str = "NULL0", **options: int) -> None:
        super().__init__(name, **options)
        self.ran: list[Graph] = []

    def prepare(self, graph: Graph) -> NullExecutable:
        """Accept any graph."""
        return NullExecutable(self, graph)
