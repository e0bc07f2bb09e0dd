"""The contract of a device: what a plugin's device, buffer and executable must do.

The boundary is the graph, not the op: a plan can be captured (CUDA graphs), traced lazily (MLX) or compiled
into one loop (CPU). Bounds, handles and shapes have been checked by the session before a device is called.

Every call is made on the device's one worker thread, except `Buffer.writable`, which the thread of a connection
calls so that a socket can receive straight into memory. A device whose memory any thread may touch says so with
`host_memory`; the session then reads, commits, copies and fills its buffers on the connection's thread once
the session's earlier work on the device is done. Allocating and freeing stay on the device's thread.

What a call raises ends the session that asked for it. A fault that the device does not come out of is raised as
`DeviceLost`: then every session of the device ends, and the device is closed and opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ggmlrpc_core.graph.tensor import Graph, Tensor


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a plugin says of a device before it is opened.

    Attributes:
        name: unique among all plugins, "CUDA0"; what `--device` takes.
        description: model name of the hardware, for people.
        accelerator: taken before others when no device is named.
        plugin: distribution that offers it; filled by the plugin manager.
        aliases: other names that `--device` takes for it, "MTL0" as the stock server says.
        on_request: served and tried out only when it is named.
    """

    name: str
    description: str
    accelerator: bool = False
    plugin: str = ""
    aliases: tuple[str, ...] = ()
    on_request: bool = False


@runtime_checkable
class Buffer(Protocol):
    """Memory on a device, zero when fresh. Sizes and offsets in bytes, already inside [0, size]."""

    size: int

    def writable(self, offset: int, size: int) -> memoryview:
        """Memory to receive into for [offset, offset + size); may be shorter: the caller loops.

        Called from the connection's thread, after the session's earlier work on the device is done.
        """
        ...

    def commit(self, offset: int, size: int) -> None:
        """The bytes that were received into the last `writable` of this range are there."""
        ...

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes of a range, in pieces; each piece is valid until the next is asked for."""
        ...

    def copy_from(self, src: Buffer, src_offset: int, dst_offset: int, size: int) -> bool:
        """Copy from a buffer of this device, overlap allowed; False when it declines."""
        ...

    def fill(self, offset: int, size: int, value: int) -> None:
        """Set every byte of a range."""
        ...

    def free(self) -> None:
        """Give the memory back, and drop every plan that holds the buffer."""
        ...


class Executable(Protocol):
    """A prepared graph."""

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Compute every node once with what is in the buffers now.

        May return before the work is done; faults then appear at Device.synchronize. Polls `should_stop` between slices
        of at most 50 ms, from this thread or another of the device.

        Raises:
            GraphStopped: should_stop answered True; results are incomplete.
            OutOfBounds: an id in tensor data is outside its range.
        """
        ...


@runtime_checkable
class Device(Protocol):
    """One unit of compute with memory of its own.

    Attributes:
        name: as in DeviceInfo.
        description: model name of the hardware.
        alignment: of tensors in buffers, bytes, a power of two.
        max_size: largest single buffer, bytes.
        accelerator: taken before others when no device is named.
        host_memory: any thread may touch its buffers while the device has no work on them.
    """

    name: str
    description: str
    alignment: int
    max_size: int
    accelerator: bool
    host_memory: bool

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes."""
        ...

    def alloc(self, size: int) -> Buffer:
        """A zeroed buffer; OutOfDeviceMemory when it does not fit."""
        ...

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None]) -> int:
        """Bytes that this tensor must be given in a buffer; at least tensor.nbytes."""
        ...

    def supports(self, node: Tensor) -> bool:
        """Whether the device computes this node itself; what it does not becomes a host stage."""
        ...

    def prepare(self, graph: Graph) -> Executable:
        """Plan a graph; may start compiling or capturing. UnsupportedOp when nobody can run a node."""
        ...

    def synchronize(self) -> None:
        """Wait for all earlier runs; their faults appear here at the latest."""
        ...

    def close(self) -> None:
        """Give everything back; called once."""
        ...
