"""The graphs of one session: read once, kept for the next time.

A message equal to one of the last few is not read again, and a graph whose content is equal keeps
its executable. Every plan knows which handles it names, so that freeing a buffer drops just the
plans that hold it. Knows no socket and no thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from ggmlrpc_core.device import Device, Executable
from ggmlrpc_core.errors import BadGraph, RemoteProtocolError, clip
from ggmlrpc_core.graph.bind import Bound
from ggmlrpc_core.graph.parse import parse_graph
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.graph.tensor import Graph
from ggmlrpc_core.ops.validate import check_nodes
from ggmlrpc_core.ops.work import check_work
from ggmlrpc_core.server.buffers import BufferTable, OwnedBuffer
from ggmlrpc_core.server.limits import DEFAULT_LIMITS
from ggmlrpc_core.server.schedule import ServedDevice
from ggmlrpc_core.wire.dialects import Dialect

PLANS_KEPT = 8
"""Plans per device and session. A client alternates between few graphs: prompt and generation, of
a model and perhaps a draft model."""
TENSORS_KEPT = 262_144
"""Tensors of the plans that are kept, per device and session: a large plan pushes others out. A
tensor of a prepared plan costs a few kilobytes, and real graphs have under 20,000."""


DialectOf = Callable[[Any, Any], Dialect]
"""From the node ids and the tensors of a message to the dialect that gives them a meaning; raises BadGraph."""


class Plan:
    """A checked graph of one device, prepared when it first runs.

    Attributes:
        device: index of the device that runs it.
        handles: buffers that its tensors name.
        touches: indices of the devices that these are on.
        n_tensors: of the message that it was read from, a measure of its memory.
    """

    __slots__ = ("_executable", "_graph", "device", "handles", "key", "n_tensors", "touches")

    def __init__(
        self,
        device: int,
        graph: Graph,
        *,
        handles: frozenset[int],
        touches: set[int],
        n_tensors: int,
    ) -> None:
        self.device = device
        self.n_tensors = n_tensors
        self.key = graph.key
        self.handles = handles
        self.touches = touches | {device}
        self._graph: Graph | None = graph
        self._executable: Executable | None = None

    @property
    def weight(self) -> int:
        """Tensors that waiting for its first run holds in memory; 0 once it is prepared."""
        return self.n_tensors if self._executable is None else 0

    def run(self, device: Device, should_stop: Callable[[], bool]) -> None:
        """Compute the graph; on the device's thread."""
        if self._executable is None:
            assert self._graph is not None
            self._executable = device.prepare(self._graph)
            self._graph = None
        self._executable.run(should_stop)


class GraphStore:
    """Plans of one session, and which of them GRAPH_RECOMPUTE runs.

    Args:
        devices: of the server.
        buffers: of the session.
        dialect_of: the dialect in which a message is to be read.
        most_work: operations of one graph, by the estimate of ops/work.py.
    """

    def __init__(
        self,
        devices: Sequence[ServedDevice],
        buffers: BufferTable,
        *,
        dialect_of: DialectOf,
        most_work: float = DEFAULT_LIMITS.graph_work,
    ) -> None:
        self._devices = devices
        self._buffers = buffers
        self._dialect_of = dialect_of
        self._most_work = most_work
        self._kept: list[OrderedDict[bytes, Plan]] = [OrderedDict() for _ in devices]
        self._stored: list[Plan | None] = [None] * len(devices)

    def compute(self, device: int, nodes: Any, tensors: Any) -> Plan:
        """The plan of a GRAPH_COMPUTE message, which becomes the stored one of its device.

        Raises:
            BadGraph: it must not run.
        """
        message = blake2b(len(nodes).to_bytes(8, "little"), digest_size=16)
        message.update(nodes)
        message.update(tensors)
        digest = message.digest()
        kept = self._kept[device]
        plan = kept.get(digest)
        if plan is None:
            plan = self._read(device, nodes, tensors)
            kept[digest] = plan
            tensors_kept = sum(one.n_tensors for one in kept.values())
            while len(kept) > PLANS_KEPT or (len(kept) > 1 and tensors_kept > TENSORS_KEPT):
                tensors_kept -= kept.popitem(last=False)[1].n_tensors
        else:
            kept.move_to_end(digest)
        self._stored[device] = plan
        return plan

    def recompute(self, device: int) -> Plan:
        """The stored plan of a device.

        Raises:
            RemoteProtocolError: there is none, or a buffer of it has been freed.
        """
        plan = self._stored[device]
        if plan is None:
            raise RemoteProtocolError(
                "GRAPH_RECOMPUTE",
                f"stored graph of device {device}",
                "none",
                "one that GRAPH_COMPUTE left and whose buffers live",
            )
        return plan

    def forget(self, handle: int) -> None:
        """Drop every plan that names a buffer."""
        for kept in self._kept:
            for digest in [d for d, plan in kept.items() if handle in plan.handles]:
                del kept[digest]
        for device, plan in enumerate(self._stored):
            if plan is not None and handle in plan.handles:
                self._stored[device] = None

    def _read(self, device: int, nodes: Any, tensors: Any) -> Plan:
        handles = set()

        def resolve(handle: int) -> Bound | None:
            handles.add(handle)
            return self._buffers.resolve(handle)

        graph = parse_graph(
            nodes,
            tensors,
            dialect=self._dialect_of(nodes, tensors),
            resolve=resolve,
            check_nodes=self._check,
        )
        for plan in self._kept[device].values():
            if plan.key == graph.key:
                return plan
        owned = [one for handle in handles if (one := self._buffers.get(handle)) is not None]
        touches = {one.device for one in owned}
        self._refuse_unreachable(device, graph, owned)
        return Plan(
            device, graph, handles=frozenset(handles), touches=touches, n_tensors=len(tensors)
        )

    def _check(self, table: TensorTable, rows: np.ndarray) -> None:
        check_nodes(table, rows)
        check_work(table, rows, self._most_work)

    def _refuse_unreachable(self, device: int, graph: Graph, owned: list[OwnedBuffer]) -> None:
        """A device computes on memory of another one only where both are memory of the host."""
        here = self._devices[device]
        out_of_reach = {
            id(one.memory): self._devices[one.device].name
            for one in owned
            if one.device != device
            and not (here.host_memory and self._devices[one.device].host_memory)
        }
        if not out_of_reach:
            return
        for node in graph.work:
            for tensor in (node, *node.src):
                if tensor is not None and id(tensor.buffer) in out_of_reach:
                    raise BadGraph(
                        "GRAPH_COMPUTE",
                        f"device of {clip(repr(tensor.name))}",
                        out_of_reach[id(tensor.buffer)],
                        f"{here.name}, which computes or reads it",
                    )
