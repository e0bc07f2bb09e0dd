"""Devices that lie: the reference device, with something wrong in what it stores. For the mutants of mutants.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.graph.views import raw_view
from ggmlrpc_core.testing import ReferenceDevice

Change = Callable[[Tensor, np.ndarray], None]
"""Gets a node and its raw array after it was computed, and changes what is in it."""


def scaled(node: Tensor, raw: np.ndarray) -> None:
    """Plain numbers become half of themselves and one; blocks get other scales."""
    if raw.dtype.kind == "f":
        finite = np.isfinite(raw)
        np.copyto(raw, (raw * 0.5 + 1).astype(raw.dtype), where=finite)
    else:
        raw ^= 0x55


def first_element(node: Tensor, raw: np.ndarray) -> None:
    """The first element has another exponent."""
    one = raw[(0,) * raw.ndim]
    raw[(0,) * raw.ndim] = one + 64 if raw.dtype.kind == "f" else one ^ 0x40


def last_row(node: Tensor, raw: np.ndarray) -> None:
    """The last row is left as zeros."""
    raw[-1, -1, -1] = 0


def zeros(node: Tensor, raw: np.ndarray) -> None:
    """Nothing but zeros."""
    raw[...] = 0


def nans(node: Tensor, raw: np.ndarray) -> None:
    """NaN, or all bits of what has none."""
    if raw.dtype.kind == "f":
        raw[...] = np.nan
    else:
        raw |= np.array(np.iinfo(raw.dtype).max, raw.dtype)


class LyingExecutable:
    """Runs the nodes one by one, and lies about each."""

    def __init__(self, device: LyingDevice, graph: Graph) -> None:
        self._device, self._graph = device, graph

    def run(self, should_stop: Callable[[], bool]) -> None:
        """See Executable.run."""
        device = self._device
        if device.idle:
            return
        nodes = self._graph.work[::-1] if device.backwards else self._graph.work
        for graph in [Graph([node]) for node in nodes]:
            ReferenceDevice.prepare(device, graph).run(should_stop)
            node = graph.work[0]
            memory: np.ndarray = node.buffer.memory
            if device.change is not None:
                device.change(node, raw_view(node, memory))
            if device.overrun:
                memory[min(node.offset + node.nbytes, len(memory) - 1)] ^= 1
            if device.spoils_source:
                self._spoil(node)

    def _spoil(self, node: Tensor) -> None:
        for src in node.src:
            if src is not None and src.offset != node.offset and src.nbytes:
                src.buffer.memory[src.offset] ^= 1
                return


class LyingDevice(ReferenceDevice):
    """The reference ops, with a lie.

    Args:
        change: applied to every result.
        overrun: one byte behind each result changes.
        spoils_source: one byte of a source changes.
        idle: nothing is computed.
        backwards: nodes run in the wrong order.
        dirty: new buffers are not zero.
    """

    def __init__(
        self,
        *,
        change: Change | None = None,
        overrun: bool = False,
        spoils_source: bool = False,
        idle: bool = False,
        backwards: bool = False,
        dirty: bool = False,
    ) -> None:
        super().__init__("LIAR", total=8 << 30)
        self.change = change
        self.overrun = overrun
        self.spoils_source = spoils_source
        self.idle = idle
        self.backwards = backwards
        self.dirty = dirty

    def alloc(self, size: int):  # type: ignore[no-untyped-def]
        """A buffer, dirty or not."""
        buffer = super().alloc(size)
        if self.dirty:
            buffer.memory[:] = 0xA5
        return buffer

    def prepare(self, graph: Graph) -> LyingExecutable:  # type: ignore[override]
        """Keep the graph."""
        super().prepare(graph)
        return LyingExecutable(self, graph)
