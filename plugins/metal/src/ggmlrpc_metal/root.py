"""The root bytes of a buffer: one array that MLX and NumPy see without a copy.

On Metal they are pages of an anonymous mapping that MLX wraps, so pages that nobody touches take no memory. MLX's CPU
backend cannot wrap memory, so there they are an array of MLX's own. Elements are 64 bits wide because an extent of an
MLX array ends at 2^31.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

from ggmlrpc_core.errors import OutOfDeviceMemory

PAGE = 16384
"""Of Apple silicon; a multiple of the page of every other system."""
WORD = 8
_DONT_NEED = 4  # MADV_DONTNEED of Linux: private pages read as zero afterwards


class Root:
    """`size` bytes, zero when fresh.

    Args:
        mx: the module mlx.core.
        size: bytes.
        gpu: whether the array must be one that Metal can use.

    Attributes:
        bytes: writable uint8 array over all of them.
        dirty: a byte may differ from zero.
        wrapped: they are pages of the system; else MLX has allocated and filled them.

    Raises:
        OutOfDeviceMemory: the system has no such memory.
    """

    def __init__(self, mx: Any, size: int, *, gpu: bool) -> None:
        self._mx = mx
        self.dirty = False
        rounded = max(-(-size // PAGE) * PAGE, PAGE)
        try:
            pages = _wrapped(mx, rounded) if gpu else None
            if pages is not None:
                self._array, words = pages
            else:
                self._array = mx.zeros((rounded // WORD,), dtype=mx.uint64)
                mx.eval(self._array)
                words = np.asarray(self._array)
            self.wrapped = pages is not None
        except (OSError, ValueError, OverflowError, RuntimeError, MemoryError) as exc:
            raise OutOfDeviceMemory(
                "alloc", "size", size, "bytes that the system can give", context=str(exc)
            ) from exc
        self._address = words.ctypes.data
        self.bytes = words.view(np.uint8)[:size]
        if not self.wrapped:
            self._discard(0, rounded)  # MLX has written zeros into every page

    def flat(self, lo: int, hi: int, dtype: str) -> Any:
        """The bytes [lo, hi) as a flat array that shows what is written later; lo is a multiple of the item.

        A range of words may end in the bytes behind it.
        """
        first = lo // WORD
        count = -(-hi // WORD) - first
        found = self._mx.as_strided(self._array, (count,), (1,), first)
        if dtype != "uint64":
            found = found.view(getattr(self._mx, dtype))
            start = (lo - first * WORD) // found.dtype.size
            found = found[start : start + (hi - lo) // found.dtype.size]
        self._mx.eval(found)
        return found

    def zero(self, lo: int, hi: int) -> None:
        """Clear bytes."""
        inner = self._discard(lo, hi)
        for start, end in ((lo, inner[0]), (inner[1], hi)) if inner else ((lo, hi),):
            self.bytes[start:end] = 0

    def forget(self, lo: int, hi: int) -> None:
        """These bytes are not needed any more: give their pages back where the system can."""
        self._discard(lo, hi)

    def _discard(self, lo: int, hi: int) -> tuple[int, int] | None:
        """Drop whole pages inside [lo, hi), which then read as zero; their range, None for no page."""
        start = -(-(self._address + lo) // PAGE) * PAGE - self._address
        end = (self._address + hi) // PAGE * PAGE - self._address
        if sys.platform != "linux" or end - start < PAGE:
            return None
        system = ctypes.CDLL(None, use_errno=True)
        where, length = ctypes.c_void_p(self._address + start), ctypes.c_size_t(end - start)
        return (start, end) if system.madvise(where, length, _DONT_NEED) == 0 else None


def _wrapped(mx: Any, size: int) -> tuple[Any, np.ndarray] | None:
    """Pages of the system as an array and as words; None where MLX takes no memory of others."""
    words = np.frombuffer(mmap.mmap(-1, size), np.uint64)
    try:
        return mx.from_dlpack(words, copy=False), words
    except (ValueError, TypeError, RuntimeError, BufferError):
        return None
