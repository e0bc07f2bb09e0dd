"""ChaosDevice: another device that misbehaves on demand, for tests of whoever uses devices.

It waits for events, never for time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from ggmlrpc_core.device import Buffer, Device, Executable
from ggmlrpc_core.errors import GraphStopped, OutOfDeviceMemory
from ggmlrpc_core.graph.build import message_order
from ggmlrpc_core.graph.tensor import Graph, Tensor

_POLL = 0.01  # seconds between two looks at should_stop while a run is held


class ChaosBuffer:
    """A buffer that hands out short pieces of memory of its own: only commit() makes bytes real."""

    def __init__(self, device: ChaosDevice, inner: Buffer) -> None:
        self.inner = inner
        self.size = inner.size
        self._device = device
        self._staged: dict[int, bytearray] = {}

    def writable(self, offset: int, size: int) -> memoryview:
        """Staging memory, at most `piece` bytes."""
        if not self._device.host_memory:
            staged = bytearray(min(size, self._device.piece))
            self._staged[offset] = staged
            return memoryview(staged)
        return self.inner.writable(offset, min(size, self._device.piece))

    def commit(self, offset: int, size: int) -> None:
        """Put what was received where it belongs."""
        self._device.called("commit")
        if self._device.host_memory:
            self.inner.commit(offset, size)
            return
        source = memoryview(self._staged.pop(offset))[:size]
        done = 0
        while done < size:
            target = self.inner.writable(offset + done, size - done)
            target[:] = source[done : done + len(target)]
            self.inner.commit(offset + done, len(target))
            done += len(target)

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """Pieces of at most `piece` bytes."""
        self._device.called("read")
        for whole in self.inner.read(offset, size):
            for at in range(0, len(whole), self._device.piece):
                yield whole[at : at + self._device.piece]

    def copy_from(self, src: Buffer, src_offset: int, dst_offset: int, size: int) -> bool:
        """Declines when the device is told to."""
        self._device.called("copy_from")
        if self._device.decline_copies or not isinstance(src, ChaosBuffer):
            return False
        return self.inner.copy_from(src.inner, src_offset, dst_offset, size)

    def fill(self, offset: int, size: int, value: int) -> None:
        """As the inner buffer."""
        self._device.called("fill")
        self.inner.fill(offset, size, value)

    def free(self) -> None:
        """As the inner buffer."""
        self._device.called("free")
        self.inner.free()


class ChaosExecutable:
    """A run that can be held, made to fail, or both."""

    def __init__(self, device: ChaosDevice, inner: Executable) -> None:
        self._device = device
        self._inner = inner

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Announce, wait while held, fail if told to, else run."""
        device = self._device
        device.called("run")
        device.running.set()
        while not device.go.wait(_POLL):
            if should_stop() and not device.deaf:
                raise GraphStopped("run", "should_stop", True, "False")
        fault, device.fail_run = device.fail_run, None
        if fault is not None:
            raise fault
        self._inner.run(should_stop)
        device.n_runs += 1


class ChaosDevice:
    """A device around another one.

    Args:
        inner: does the work; must have host memory.
        piece: longest piece of writable() and read(), bytes.
        host_memory: what to say of its memory. With False every buffer stages what is received and every call from
            a thread other than the one that made the device is noted in `violations`.

    Attributes:
        fail_allocs: so many next allocations fail.
        fail_run: raised by the next run; None for none.
        fail_synchronize: raised by the next synchronize, as a fault of an earlier run.
        fail_memory: raised by memory() for as long as it is set.
        decline_copies: copy_from answers False.
        deaf: a held run ignores should_stop.
        go: cleared, runs wait for it.
        running: set when a run begins.
        n_runs: runs that completed.
        violations: calls from a wrong thread.
    """

    def __init__(
        self, inner: Device, *, piece: int = 1 << 62, host_memory: bool | None = None
    ) -> None:
        self.inner = inner
        self.piece = piece
        self.name = inner.name
        self.description = inner.description
        self.alignment = inner.alignment
        self.max_size = inner.max_size
        self.accelerator = inner.accelerator
        self.host_memory = inner.host_memory if host_memory is None else host_memory
        self.fail_allocs = 0
        self.fail_run: BaseException | None = None
        self.fail_synchronize: BaseException | None = None
        self.fail_memory: BaseException | None = None
        self.decline_copies = False
        self.deaf = False
        self.go = threading.Event()
        self.go.set()
        self.running = threading.Event()
        self.n_runs = 0
        self.violations: list[str] = []
        self._thread = threading.get_ident()

    def called(self, what: str) -> None:
        """Note a call that must be on the device's thread and is not."""
        if not self.host_memory and threading.get_ident() != self._thread:
            self.violations.append(f"{what} on thread {threading.current_thread().name!r}")

    def memory(self) -> tuple[int, int]:
        """As the inner device."""
        self.called("memory")
        if self.fail_memory is not None:
            raise self.fail_memory
        return self.inner.memory()

    def alloc(self, size: int) -> ChaosBuffer:
        """Fails while fail_allocs is above 0."""
        self.called("alloc")
        if self.fail_allocs > 0:
            self.fail_allocs -= 1
            raise OutOfDeviceMemory("alloc", "size", f"{size} bytes", "no failure on demand")
        return ChaosBuffer(self, self.inner.alloc(size))

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None]) -> int:
        """As the inner device."""
        return self.inner.alloc_size(tensor, srcs)

    def supports(self, node: Tensor) -> bool:
        """As the inner device."""
        return self.inner.supports(node)

    def prepare(self, graph: Graph) -> ChaosExecutable:
        """Give the inner device a copy of the graph that lives in its own buffers."""
        self.called("prepare")
        return ChaosExecutable(self, self.inner.prepare(unwrap(graph)))

    def synchronize(self) -> None:
        """Raises fail_synchronize once."""
        self.called("synchronize")
        fault, self.fail_synchronize = self.fail_synchronize, None
        if fault is not None:
            raise fault
        self.inner.synchronize()

    def close(self) -> None:
        """As the inner device."""
        self.called("close")
        self.inner.close()


def unwrap(graph: Graph) -> Graph:
    """The same graph over the inner buffers."""
    tensors = message_order(graph.nodes)
    copies = {id(t): replace(t) for t in tensors}
    for copy in copies.values():
        copy.src = tuple(None if s is None else copies[id(s)] for s in copy.src)
        copy.view_src = None if copy.view_src is None else copies[id(copy.view_src)]
        if isinstance(copy.buffer, ChaosBuffer):
            copy.buffer = copy.buffer.inner
    return Graph([copies[id(n)] for n in graph.nodes], graph.key)
