"""Memory between two pages that nobody may touch, so that reading or writing outside of an array is a fault."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
NO_ACCESS, READ_ONLY = 0, 1


class Guarded:
    """Bytes that end where a forbidden page begins.

    Args:
        content: of the bytes.
        read_only: whether writing them is a fault too.
    """

    def __init__(self, content: np.ndarray, *, read_only: bool) -> None:
        inner = -(-max(content.nbytes, 1) // PAGE) * PAGE
        self._map = mmap.mmap(-1, inner + 2 * PAGE)
        everything = np.frombuffer(self._map, np.uint8)
        self._start = everything.ctypes.data
        first = PAGE + inner - content.nbytes
        self.bytes = everything[first : first + content.nbytes]
        self.bytes[:] = content.reshape(-1).view(np.uint8)
        self._protect(0, PAGE, NO_ACCESS)
        self._protect(PAGE + inner, PAGE, NO_ACCESS)
        if read_only:
            self._protect(PAGE, inner, READ_ONLY)

    @property
    def address(self) -> int:
        """Of the first byte."""
        return self.bytes.ctypes.data

    def _protect(self, offset: int, size: int, access: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        at = ctypes.c_void_p(self._start + offset)
        if libc.mprotect(at, ctypes.c_size_t(size), access):
            raise OSError(ctypes.get_errno(), "mprotect")


def guarded_span(array: np.ndarray) -> Guarded:
    """The bytes from the first to the last element of an array with strides that are not negative."""
    reach = sum((n - 1) * s for n, s in zip(array.shape, array.strides)) + array.itemsize
    span = (ctypes.c_uint8 * reach).from_address(array.ctypes.data)
    return Guarded(np.ctypeslib.as_array(span), read_only=True)
