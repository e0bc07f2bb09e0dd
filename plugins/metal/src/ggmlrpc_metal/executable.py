"""A prepared graph: runs its stages one after the other on the device's thread, and waits for each.

What a stage means is in layout.py and lower.py, how a traced one runs in stage.py.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ggmlrpc_core.errors import BufferNotFound, GraphStopped
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_metal.plan import HostStage, Planner, TracedStage
from ggmlrpc_metal.stage import NotTraced, TracedRun, host_view

TOO_LONG, TIMES = 0.05, 3
"""A stage of several nodes that took more seconds than this so often in a row is cut for the next run."""


class MetalExecutable:
    """Runs a plan; see ggmlrpc_core.device.Executable.

    Args:
        mx: the module mlx.core.
        planner: of the graph.
        n_nodes: of the graph, a measure of its memory.
        buffers: that its nodes touch.
        tell: is given host stages, those of the plan and those that a stage becomes when MLX refuses it.
    """

    def __init__(
        self,
        mx: Any,
        planner: Planner,
        *,
        n_nodes: int,
        buffers: frozenset[Any],
        tell: Callable[[list[HostStage]], None],
    ) -> None:
        self._mx = mx
        self._tell = tell
        self._planner = planner
        self.n_nodes = n_nodes
        self.buffers = buffers
        self.stages: list[_Host | TracedRun] = [self._ready(stage) for stage in planner.stages()]
        self._dropped = False
        tell([one.stage for one in self.stages if isinstance(one, _Host)])

    def drop(self) -> None:
        """A buffer of the plan was freed: it must not run again."""
        self._dropped = True
        self.stages = []
        self.buffers = frozenset()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Compute every node once; done when it returns.

        Raises:
            GraphStopped: should_stop answered True; results are incomplete.
            OutOfBounds: an id in tensor data is outside its range.
            BufferNotFound: a buffer of the graph was freed.
            OutOfDeviceMemory: intermediate results did not fit.
            DeviceLost: MLX could not compute.
        """
        if self._dropped:
            raise BufferNotFound(
                "run", "a buffer of the graph", "freed", "alive while the graph may run"
            )
        if not self.stages and should_stop():
            raise self._stopped()
        at = 0
        while at < len(self.stages):
            if should_stop():
                raise self._stopped()
            stage = self.stages[at]
            started = perf_counter()
            try:
                stage.run()
            except NotTraced as exc:
                assert isinstance(stage, TracedRun), "a host stage is not traced"
                self._leave_to_host(at, stage.stage, str(exc))
                continue
            stage.n_slow = stage.n_slow + 1 if perf_counter() - started > TOO_LONG else 0
            if stage.n_slow == TIMES and isinstance(stage, TracedRun):
                halves = [self._ready(half) for half in self._planner.halves(stage.stage)]
                self.stages[at : at + 1] = halves
                at += len(halves) - 1
            at += 1

    def _leave_to_host(self, at: int, stage: TracedStage, reason: str) -> None:
        made = [HostStage(step.node, f"MLX says: {reason}") for step in stage.spec.steps]
        self._tell(made)
        self.stages[at : at + 1] = [_Host(one) for one in made]

    def _ready(self, stage: HostStage | TracedStage) -> _Host | TracedRun:
        return _Host(stage) if isinstance(stage, HostStage) else TracedRun(self._mx, stage)

    @staticmethod
    def _stopped() -> GraphStopped:
        return GraphStopped("run", "graph", "stopped", "to run to its end", context="MLX")


class _Host:
    """One node by the reference op, on the bytes."""

    def __init__(self, stage: HostStage) -> None:
        self.stage = stage
        self.n_slow = 0

    def run(self) -> None:
        """Compute it; results go to root bytes."""
        node = self.stage.node
        written = (node, *(s for s in node.src if s is not None and node.op.startswith("OPT_STEP")))
        for tensor in written:
            # What is written must be root bytes, and all of it: the op may leave some as they are.
            tensor.buffer.flush(tensor.offset, tensor.offset + tensor.nbytes)
            tensor.buffer.commit(tensor.offset, tensor.nbytes)
        run_node(np, node, host_view)
