"""Buffers and a device of NumPy bytes: what the null and the reference device share.

Knows no op and no socket. Sizes and offsets in bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from ggmlrpc_core.device import Buffer
from ggmlrpc_core.errors import DeviceError, OutOfDeviceMemory
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import raw_view

DEFAULT_TOTAL = 1 << 30


class HostBuffer:
    """Zeroed host memory.

    Attributes:
        size: bytes.
        memory: uint8 array of them.
        freed: free() was called.
    """

    def __init__(self, device: HostDevice, size: int) -> None:
        self.size = size
        self.memory = np.zeros(size, np.uint8)
        self.freed = False
        self._device = device

    def writable(self, offset: int, size: int) -> memoryview:
        """The memory itself; see Buffer.writable."""
        return self._bytes()[offset : offset + size]

    def commit(self, offset: int, size: int) -> None:
        """Nothing to do: `writable` gave the memory itself."""

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes in one piece."""
        yield self._bytes()[offset : offset + size]

    def copy_from(self, src: Buffer, src_offset: int, dst_offset: int, size: int) -> bool:
        """Copy from another HostBuffer; declines others."""
        if not isinstance(src, HostBuffer):
            return False
        source = src.memory[src_offset : src_offset + size]
        self.memory[dst_offset : dst_offset + size] = source  # NumPy notices overlap
        return True

    def fill(self, offset: int, size: int, value: int) -> None:
        """Set every byte of a range."""
        self.memory[offset : offset + size] = value

    def free(self) -> None:
        """Give the memory back.

        Raises:
            DeviceError: it was freed before.
        """
        if self.freed:
            raise DeviceError("free", "buffer", "freed twice", "a live buffer")
        self.freed = True
        self._device.give_back(self.size)
        self.memory = np.zeros(0, np.uint8)

    def _bytes(self) -> memoryview:
        return self.memory.data


class HostDevice:
    """Memory of a pretended size. Subclasses compute.

    Args:
        name: as in DeviceInfo.
        total: bytes that it pretends to have.
        alignment: of tensors, bytes.
    """

    description = "NumPy bytes"
    accelerator = False
    host_memory = True

    def __init__(
        self, name: str = "HOST0", *, total: int = DEFAULT_TOTAL, alignment: int = 32
    ) -> None:
        self.name = name
        self.alignment = alignment
        self.max_size = total
        self.closed = False
        self._total = total
        self._used = 0
        self._lock = threading.Lock()  # buffers of host memory may be freed from any thread

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes."""
        return self._total - self._used, self._total

    def alloc(self, size: int) -> HostBuffer:
        """A zeroed buffer; OutOfDeviceMemory when it does not fit."""
        with self._lock:
            if size > self._total - self._used:
                expected = f"at most {self._total - self._used} bytes"
                raise OutOfDeviceMemory(
                    "alloc", "size", f"{size} bytes", expected, context=self.name
                )
            self._used += size
        return HostBuffer(self, size)

    def give_back(self, size: int) -> None:
        """A buffer of `size` bytes is free again."""
        with self._lock:
            self._used -= size

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None]) -> int:
        """The bytes of the tensor."""
        return tensor.nbytes

    def supports(self, node: Tensor) -> bool:
        """Every node."""
        return True

    def synchronize(self) -> None:
        """Nothing runs behind the caller's back."""

    def close(self) -> None:
        """Mark as closed."""
        self.closed = True


def host_array(tensor: Tensor) -> np.ndarray:
    """The raw array of a tensor in a HostBuffer."""
    return raw_view(tensor, tensor.buffer.memory)
