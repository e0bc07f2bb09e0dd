"""The CPU device: opens nothing, compiles nothing until a graph is prepared."""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from collections.abc import Callable

import psutil

from ggmlrpc_core.device import DeviceInfo
from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.ops.declare import OPS
from ggmlrpc_cpu.buffer import CpuBuffer
from ggmlrpc_cpu.cpu_info import cpu_name
from ggmlrpc_cpu.executable import CpuExecutable
from ggmlrpc_cpu.plan import Plan, host_seconds, make_plan
from ggmlrpc_cpu.ready import WALKER, ReadyKernels, environment_mode
from ggmlrpc_cpu.stamp import Stamps
from ggmlrpc_cpu.threads import Team, default_threads
from ggmlrpc_cpu.watch import Watch

NAME = "CPU"
ALIGNMENT = 64
MAX_SIZE = 2**64 - 1
"""As the stock server says: no limit but memory."""
WAIT_FACTOR, WAIT_POLL = 3.0, 0.05
"""How long to wait for kernels, in times of what the reference would take; seconds between two looks."""
MAX_PLANS = 16
"""Prepared graphs that are kept; a client alternates between few."""
MAX_PLANNED = 262_144
"""Nodes of the prepared graphs that are kept: one of any size, or as many small ones as MAX_PLANS."""


def device_info() -> DeviceInfo:
    """What `ggmlrpc_devices` tells."""
    return DeviceInfo(name=NAME, description=cpu_name())


class CpuDevice:
    """Device of the host's memory and cores; see ggmlrpc_core.device.Device.

    Args:
        n_threads: threads to compute with; None for one per physical core.
        compile_mode: of ready.MODES; None asks the environment.
    """

    name = NAME
    alignment = ALIGNMENT
    max_size = MAX_SIZE
    accelerator = False
    host_memory = True

    def __init__(self, n_threads: int | None = None, *, compile_mode: str | None = None) -> None:
        self.description = cpu_name()
        self.n_threads = n_threads or default_threads()
        self._kernels = ReadyKernels(compile_mode or environment_mode())
        self._team: Team | None = None
        self.watch = Watch()
        self._stamps = Stamps()
        self._plans: OrderedDict[bytes, CpuExecutable] = OrderedDict()
        self._alive: weakref.WeakSet[CpuExecutable] = weakref.WeakSet()

    def memory(self) -> tuple[int, int]:
        """(available, installed) bytes of the host."""
        found = psutil.virtual_memory()
        return int(found.available), int(found.total)

    def alloc(self, size: int) -> CpuBuffer:
        """A zeroed buffer; its pages are taken when they are first touched."""
        return CpuBuffer(size, self._forget)

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None]) -> int:
        """Just the tensor's bytes."""
        return tensor.nbytes

    def supports(self, node: Tensor) -> bool:
        """Every op of the reference table."""
        op = OPS.get(node.op)
        return op is not None and op.compute is not None

    def prepare(self, graph: Graph) -> CpuExecutable:
        """The plan of a graph, from the last few when its key is known.

        Raises:
            UnsupportedOp: a node that no reference op computes.
        """
        known = self._plans.get(graph.key) if graph.key else None
        if known is not None:
            self._plans.move_to_end(graph.key)
            return known
        for node in graph.work:
            if not self.supports(node):
                raise UnsupportedOp(
                    node.op, "op", node.op, "one that can be computed", context=f"device {NAME}"
                )
        made = CpuExecutable(self._make(graph), self)
        self._alive.add(made)
        if graph.key:
            self._plans[graph.key] = made
            planned = sum(len(one.graph.nodes) for one in self._plans.values())
            while len(self._plans) > MAX_PLANS or (len(self._plans) > 1 and planned > MAX_PLANNED):
                planned -= len(self._plans.popitem(last=False)[1].graph.nodes)
        return made

    def _make(self, graph: Graph) -> Plan:
        from ggmlrpc_cpu.families.all import import_families

        import_families()
        return make_plan(graph, self._kernels, n_threads=self.n_threads, stamps=self._stamps)

    def renewed(self, plan: Plan, should_stop: Callable[[], bool]) -> Plan:
        """The plan made again when a kernel that it lacked has become ready.

        Waits for kernels that are being compiled, but not much longer than the reference would compute in their place.
        """
        end = time.monotonic() + WAIT_FACTOR * host_seconds(plan)
        while self._kernels.coming(plan.missing) and time.monotonic() < end and not should_stop():
            time.sleep(WAIT_POLL)
        return self._make(plan.graph) if self._kernels.ready(plan.missing) else plan

    def team(self) -> Team:
        """The threads, started when first needed."""
        if self._team is None:
            walk = self._kernels.address(WALKER)
            assert walk is not None, "a plan has records only when there is a walker"
            self._team = Team(walk, self.n_threads)
        return self._team

    def _forget(self, buffer: CpuBuffer) -> None:
        for key in [key for key, made in self._plans.items() if made.holds(buffer)]:
            del self._plans[key]
        # A session may hold a plan that is not among the last few; it must not run either.
        for made in self._alive:
            if made.holds(buffer):
                made.drop()

    def synchronize(self) -> None:
        """Nothing to wait for: `run` returns when its work is done."""

    def close(self) -> None:
        """End threads and the compiling child."""
        self._plans.clear()
        if self._team is not None:
            self._team.close()
            self._team = None
        self.watch.close()
        self._kernels.close()
