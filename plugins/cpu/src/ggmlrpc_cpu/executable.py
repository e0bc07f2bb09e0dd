"""A prepared graph of the CPU device: runs the stages of a plan, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ggmlrpc_core.errors import BufferNotFound, GraphStopped, OutOfBounds, clip
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.graph.views import raw_view
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_cpu.plan import CompiledStage, HostStage, Plan
from ggmlrpc_cpu.record import ERROR_STOP
from ggmlrpc_cpu.threads import Team
from ggmlrpc_cpu.watch import Watch


class Runner(Protocol):
    """What an executable needs of its device."""

    watch: Watch

    def team(self) -> Team:
        """The threads; only asked for when a plan has records."""
        ...

    def renewed(self, plan: Plan, should_stop: Callable[[], bool]) -> Plan:
        """The plan, or a better one when kernels that it lacked are ready now."""
        ...


def host_view(tensor: Tensor) -> Any:
    """The raw array of a tensor in its buffer."""
    return raw_view(tensor, tensor.buffer.memory)


class CpuExecutable:
    """Runs a plan; see device.Executable."""

    def __init__(self, plan: Plan, runner: Runner) -> None:
        self._plan = plan
        self._runner = runner
        self._dropped = False

    @property
    def graph(self) -> Graph:
        """The graph that was prepared."""
        return self._plan.graph

    @property
    def plan(self) -> Plan:
        """The plan that the next run starts from."""
        return self._plan

    def holds(self, buffer: Any) -> bool:
        """Whether a buffer is part of the plan."""
        return buffer in self._plan.buffers

    def drop(self) -> None:
        """A buffer of the plan was freed: it must not run again."""
        self._dropped = True

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Compute every node once; done when it returns.

        Raises:
            GraphStopped: should_stop answered True; results are incomplete.
            OutOfBounds: an id in tensor data is outside its range.
            BufferNotFound: a buffer of the graph was freed.
        """
        if self._dropped:
            raise BufferNotFound(
                "run", "a buffer of the graph", "freed", "alive while the graph may run"
            )
        if self._plan.missing:
            self._plan = self._runner.renewed(self._plan, should_stop)
        plan = self._plan
        plan.counters.fill(0)
        plan.error.fill(0)
        self._runner.watch.begin(should_stop, plan.error)
        try:
            for stage in plan.stages:
                if should_stop():
                    plan.error[ERROR_STOP] = 1
                else:
                    self._run_stage(plan, stage)
                if plan.error[ERROR_STOP]:
                    break
        finally:
            self._runner.watch.end()
        if plan.error[ERROR_STOP]:
            raise GraphStopped("run", "graph", "stopped", "to run to its end", context="device CPU")

    def _run_stage(self, plan: Plan, stage: HostStage | CompiledStage) -> None:
        if isinstance(stage, HostStage):
            run_node(np, stage.node, host_view)
            return
        self._runner.team().run(
            plan.records.ctypes.data,
            stage.first,
            stage.last,
            error=plan.error.ctypes.data,
            alone=stage.alone,
        )
        if plan.error[0]:
            raise self._out_of_bounds(plan)

    def _out_of_bounds(self, plan: Plan) -> OutOfBounds:
        number, found, limit, _ = (int(v) for v in plan.error)
        node = plan.graph.work[number - 1]
        return OutOfBounds(
            node.op,
            "id",
            found,
            f"in [0, {limit})",
            context=f"node {number - 1} {clip(repr(node.name))}",
        )
