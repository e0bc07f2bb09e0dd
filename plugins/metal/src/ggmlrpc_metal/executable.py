"""A prepared graph: runs its stages one after the other on the device's thread, and waits for each.

Knows buffers and MLX; what a stage means is in layout.py and lower.py.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ggmlrpc_core.errors import (
    BufferNotFound,
    DeviceLost,
    GraphStopped,
    OutOfBounds,
    OutOfDeviceMemory,
    clip,
)
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import raw_layout
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_metal.buffer import MetalBuffer
from ggmlrpc_metal.layout import Input, StageSpec
from ggmlrpc_metal.lower import StageFunction
from ggmlrpc_metal.plan import HostStage, Planner, TracedStage

TOO_LONG = 0.05
"""Seconds after which a stage of several nodes is cut for the next run."""


class MetalExecutable:
    """Runs a plan; see ggmlrpc_core.device.Executable.

    Args:
        mx: the module mlx.core.
        planner: of the graph.
        n_nodes: of the graph, a measure of its memory.
        buffers: that its nodes touch.
    """

    def __init__(self, mx: Any, planner: Planner, *, n_nodes: int, buffers: frozenset[Any]) -> None:
        self._mx = mx
        self._planner = planner
        self.n_nodes = n_nodes
        self.buffers = buffers
        self.stages: list[_Host | _Traced] = [self._ready(stage) for stage in planner.stages()]
        self._dropped = False

    def host_stages(self) -> list[HostStage]:
        """The nodes that the host computes."""
        return [one.stage for one in self.stages if isinstance(one, _Host)]

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
            stage.run()
            again = stage.warm
            stage.warm = True
            if again and perf_counter() - started > TOO_LONG and isinstance(stage, _Traced):
                halves = [self._ready(half) for half in self._planner.halves(stage.stage)]
                self.stages[at : at + 1] = halves
                at += len(halves) - 1
            at += 1

    def _ready(self, stage: HostStage | TracedStage) -> _Host | _Traced:
        return _Host(stage) if isinstance(stage, HostStage) else _Traced(self._mx, stage)

    @staticmethod
    def _stopped() -> GraphStopped:
        return GraphStopped("run", "graph", "stopped", "to run to its end", context="MLX")


class _Host:
    """One node by the reference op, on the bytes."""

    def __init__(self, stage: HostStage) -> None:
        self.stage = stage
        self.warm = False

    def run(self) -> None:
        """Compute it; results go to root bytes."""
        node = self.stage.node
        written = (node, *(s for s in node.src if s is not None and node.op.startswith("OPT_STEP")))
        for tensor in written:
            # What is written must be root bytes, and all of it: the op may leave some as they are.
            tensor.buffer.flush(tensor.offset, tensor.offset + tensor.nbytes)
            tensor.buffer.commit(tensor.offset, tensor.nbytes)
        run_node(np, node, host_view)


def host_view(tensor: Tensor) -> np.ndarray:
    """The raw array of a tensor where its newest bytes are. To be written only after a flush."""
    memory, at = tensor.buffer.newest(tensor.offset, tensor.offset + tensor.nbytes)
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    return np.ndarray(shape, dtype, buffer=memory.data, offset=at, strides=strides)


class _Inputs:
    """The inputs of a stage that lie in one buffer, with the places they have among all."""

    def __init__(self, buffer: MetalBuffer) -> None:
        self.buffer = buffer
        self.items: list[tuple[int, Input]] = []
        self.root: list[Any] = []  # the same as views of the root bytes, made when first needed

    def fill(self, mx: Any, into: list[Any]) -> None:
        """Put the newest arrays in their places."""
        buffer = self.buffer
        if not self.root:
            self.root = [buffer.root.flat(i.lo, i.hi, i.dtype) for _, i in self.items]
        if not len(buffer.segments):
            for (place, _), view in zip(self.items, self.root):
                into[place] = view
            return
        for _, item in self.items:
            if buffer.segments.exact(item.lo, item.hi) is None:
                buffer.flush(item.lo, item.hi)
        for (place, item), view in zip(self.items, self.root):
            segment = buffer.segments.exact(item.lo, item.hi)
            if segment is None:
                into[place] = view
            elif (dtype := getattr(mx, item.dtype)) == segment.array.dtype:
                into[place] = segment.array
            else:
                into[place] = segment.array.view(dtype)


class _Traced:
    """A stage that MLX computes."""

    def __init__(self, mx: Any, stage: TracedStage) -> None:
        self.stage = stage
        self.warm = False
        self._mx = mx
        self._function = mx.compile(StageFunction(mx, stage.spec))
        self._inputs = _by_buffer(stage.spec)

    def run(self) -> None:
        """Compute it; results become segments."""
        spec = self.stage.spec
        for check in spec.host_checks:
            ids = host_view(check.ids)
            _require(check.node, int(ids.min(initial=0)), int(ids.max(initial=0)), check.limit)
        inputs: list[Any] = [None] * len(spec.inputs)
        for group in self._inputs:
            group.fill(self._mx, inputs)
        outputs, checks = self._function(inputs, self._repacked())
        # From here on nobody else may hold what the stage replaces: MLX then writes in place.
        del inputs
        for output in spec.outputs:
            output.buffer.expect(output.lo, output.hi)
        try:
            self._mx.eval(outputs, checks)
        except (RuntimeError, MemoryError, ValueError) as exc:
            for output in spec.outputs:
                output.buffer.disappoint(output.lo, output.hi)
            raise _fault(exc) from exc
        for output, array in zip(spec.outputs, outputs):
            output.buffer.cover(output.lo, output.hi, array)
        self._look_at(checks)

    def _repacked(self) -> list[list[Any]]:
        found = []
        for _, tensor, override in self.stage.spec.repacked:
            assert override.repack is not None, "listed because it has one"
            lo, hi = tensor.offset, tensor.offset + tensor.nbytes
            kept = tensor.buffer.derived
            key = (lo, hi, override.repack.name)
            if key not in kept:
                kept[key] = tuple(
                    self._mx.array(a) for a in override.repack.make(host_view(tensor))
                )
                self._mx.eval(*kept[key])
            found.append(list(kept[key]))
        return found

    def _look_at(self, checks: list[Any]) -> None:
        steps = [step for step in self.stage.spec.steps if step.check is not None]
        for step, found in zip(steps, checks):
            assert step.check is not None
            low, high = np.asarray(found).tolist()
            _require(step.node, low, high, step.check[1])


def _by_buffer(spec: StageSpec) -> list[_Inputs]:
    groups: dict[int, _Inputs] = {}
    for place, item in enumerate(spec.inputs):
        groups.setdefault(id(item.buffer), _Inputs(item.buffer)).items.append((place, item))
    return list(groups.values())


def _require(node: Tensor, low: int, high: int, limit: int) -> None:
    """Refuse ids outside [0, limit)."""
    for found in (low, high):
        if not 0 <= found < limit:
            raise OutOfBounds(
                node.op, "id", found, f"in [0, {limit})", context=f"node {clip(repr(node.name))}"
            )


def _fault(exc: Exception) -> DeviceLost | OutOfDeviceMemory:
    """What an exception of MLX means: memory that one graph asks for ends its session, all else the device."""
    text = str(exc)
    if isinstance(exc, MemoryError) or "alloc" in text:
        return OutOfDeviceMemory("run", "intermediate results", clip(text), "ones that fit")
    return DeviceLost("run", "MLX", clip(text), "to compute", context="MLX")
