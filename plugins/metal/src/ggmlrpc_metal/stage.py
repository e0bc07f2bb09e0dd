"""One traced stage at run time: finds its inputs, lets MLX compute, keeps its results. The hot path of a token.

What a stage means is in layout.py and lower.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.errors import DeviceLost, OutOfBounds, OutOfDeviceMemory, clip
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import raw_layout
from ggmlrpc_metal.buffer import MetalBuffer
from ggmlrpc_metal.layout import Input, Output
from ggmlrpc_metal.lower import StageFunction
from ggmlrpc_metal.plan import TracedStage
from ggmlrpc_metal.segments import Segment


class NotTraced(Exception):
    """MLX refused to build what a stage asks for; nothing has been computed."""


def host_view(tensor: Tensor) -> np.ndarray:
    """The raw array of a tensor where its newest bytes are. To be written only after a flush."""
    memory, at = tensor.buffer.newest(tensor.offset, tensor.offset + tensor.nbytes)
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    return np.ndarray(shape, dtype, buffer=memory.data, offset=at, strides=strides)


class TracedRun:
    """A stage that MLX computes.

    Attributes:
        stage: what was planned.
        n_slow: how many of the last runs in a row were too long.
    """

    def __init__(self, mx: Any, stage: TracedStage) -> None:
        self.stage = stage
        self.n_slow = 0
        self._mx = mx
        self._function = StageFunction(mx, stage.spec)
        self._compiled = mx.compile(self._function)
        spec = stage.spec
        self._inputs = [_Inputs(mx, buffer, found) for buffer, found in _grouped(spec.inputs)]
        self._outputs = [_Outputs(buffer, found) for buffer, found in _grouped(spec.outputs)]

    def run(self) -> None:
        """Compute it; results become segments.

        Raises:
            NotTraced: the nodes must be computed in another way.
            OutOfBounds: an id is outside its range; results mean nothing then.
            OutOfDeviceMemory: intermediate results did not fit.
            DeviceLost: MLX could not compute.
        """
        for check in self.stage.spec.host_checks:
            ids = host_view(check.ids)
            _require(check.node, int(ids.min(initial=0)), int(ids.max(initial=0)), check.limit)
        inputs: list[Any] = [None] * len(self.stage.spec.inputs)
        for group in self._inputs:
            group.fill(inputs)
        try:
            outputs, checks = self._compiled(inputs)
        except (ValueError, TypeError, RuntimeError) as exc:  # what MLX raises for what it lacks
            raise NotTraced(clip(exc)) from exc
        # From here on nobody else may hold what the stage replaces: MLX then writes in place.
        del inputs
        for place in self._outputs:
            place.release()
        try:
            self._mx.eval(outputs, checks)
        except (RuntimeError, MemoryError, ValueError) as exc:
            for place in self._outputs:
                place.lose()
            raise _fault(exc) from exc
        for place in self._outputs:
            place.store(outputs)
        for step, found in zip(self._function.checked, checks):
            assert step.check is not None, "it was checked"
            low, high = np.asarray(found).tolist()
            _require(step.node, low, high, step.check[1])


def _grouped(items: list[Any]) -> list[tuple[MetalBuffer, list[tuple[int, Any]]]]:
    """Items with their places, by buffer."""
    groups: dict[int, tuple[MetalBuffer, list[tuple[int, Any]]]] = {}
    for place, item in enumerate(items):
        groups.setdefault(id(item.buffer), (item.buffer, []))[1].append((place, item))
    return list(groups.values())


class _Inputs:
    """The inputs of a stage in one buffer. What was found is kept while no range of a segment changes."""

    def __init__(self, mx: Any, buffer: MetalBuffer, items: list[tuple[int, Input]]) -> None:
        self._mx = mx
        self._buffer = buffer
        self._items = items
        self._version = -1
        self._roots: dict[int, Any] = {}  # views of the root bytes, made when first needed
        self._views: list[tuple[int, Any]] = []
        self._segments: list[tuple[int, Input, Any, Segment]] = []

    def fill(self, into: list[Any]) -> None:
        """Put the newest arrays in their places."""
        if self._version != self._buffer.segments.version:
            self._find()
        for place, view in self._views:
            into[place] = view
        for place, item, dtype, segment in self._segments:
            array = segment.array
            if array.shape != item.shape or array.dtype != dtype:
                array = array.reshape(-1).view(dtype).reshape(item.shape)
            into[place] = array

    def _find(self) -> None:
        segments = self._buffer.segments
        for _, item in self._items:
            if segments.exact(item.lo, item.hi) is None:
                self._buffer.flush(item.lo, item.hi)
        self._views, self._segments = [], []
        for place, item in self._items:
            segment = segments.exact(item.lo, item.hi)
            if segment is not None:
                self._segments.append((place, item, getattr(self._mx, item.dtype), segment))
                continue
            if place not in self._roots:
                flat = self._buffer.root.flat(item.lo, item.hi, item.dtype)
                self._roots[place] = flat.reshape(item.shape)
                self._mx.eval(self._roots[place])
            self._views.append((place, self._roots[place]))
        self._version = segments.version


class _Outputs:
    """The results of a stage in one buffer."""

    def __init__(self, buffer: MetalBuffer, items: list[tuple[int, Output]]) -> None:
        self._buffer = buffer
        self._items = items
        self._version = -1
        self._segments: list[Segment | None] = []

    def release(self) -> None:
        """Let go of the arrays that are replaced."""
        segments = self._buffer.segments
        if self._version != segments.version:
            self._segments = [segments.exact(item.lo, item.hi) for _, item in self._items]
            self._version = segments.version
        for segment in self._segments:
            if segment is not None:
                segment.array = None

    def lose(self) -> None:
        """The stage failed: root bytes show where arrays were."""
        for segment in self._segments:
            if segment is not None:
                self._buffer.segments.remove(segment)

    def store(self, outputs: list[Any]) -> None:
        """The newest bytes are those of the results."""
        for (place, item), segment in zip(self._items, self._segments):
            if segment is not None:
                segment.array = outputs[place]
            else:
                self._buffer.cover(item.lo, item.hi, outputs[place])


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
