"""Memory of the CPU device: fresh pages are zero and take no space until they are touched."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Callable, Iterator

import numpy as np

from ggmlrpc_core.device import Buffer
from ggmlrpc_core.errors import OutOfDeviceMemory

READ_PIECE = 4 << 20
"""Most bytes of one piece of `read`."""


class CpuBuffer:
    """One buffer: an anonymous mapping, so that `free` gives the pages back to the system.

    Attributes:
        size: bytes, as asked for.
        address: of the first byte, page aligned; 0 after free.
        memory: uint8 array over all bytes; reference operations make their views of it.
    """

    def __init__(self, size: int, on_free: Callable[[CpuBuffer], None]) -> None:
        self.size = size
        try:
            self._map = mmap.mmap(-1, max(size, 1))
        except (OSError, ValueError, OverflowError) as exc:
            raise OutOfDeviceMemory(
                "alloc", "size", size, "bytes that the system can give", context="device CPU"
            ) from exc
        if hasattr(mmap, "MADV_HUGEPAGE") and size >= 4 << 20:
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self.memory = np.frombuffer(self._map, np.uint8, count=size)
        self.address = self.memory.ctypes.data if size else 0
        self._view = memoryview(self._map)
        self._on_free = on_free

    def writable(self, offset: int, size: int) -> memoryview:
        """The bytes themselves."""
        return self._view[offset : offset + size]

    def commit(self, offset: int, size: int) -> None:
        """Nothing to do: bytes were received in place."""

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes themselves, in pieces."""
        for start in range(offset, offset + size, READ_PIECE):
            yield self._view[start : min(start + READ_PIECE, offset + size)].toreadonly()

    def copy_from(self, src: Buffer, src_offset: int, dst_offset: int, size: int) -> bool:
        """memmove from another buffer of this device."""
        if not isinstance(src, CpuBuffer):
            return False
        ctypes.memmove(self.address + dst_offset, src.address + src_offset, size)
        return True

    def fill(self, offset: int, size: int, value: int) -> None:
        """Set bytes; filling fresh memory with 0 still touches its pages."""
        ctypes.memset(self.address + offset, value, size)

    def free(self) -> None:
        """Drop the plans that hold this buffer and unmap it. A piece that is still being sent keeps the pages."""
        self._on_free(self)
        self.address = 0
        self.memory = np.empty(0, np.uint8)
        self._view = memoryview(b"")
        # Somebody may hold a view; the mapping goes when that does.
        with contextlib.suppress(BufferError):
            self._map.close()
