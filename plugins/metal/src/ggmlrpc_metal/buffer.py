"""A buffer of the device: root bytes with segments on top (docs/adr/0007-metal-segments.md).

Everything here is called on the device's thread while nothing runs, except `writable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ggmlrpc_core.device import Buffer
from ggmlrpc_core.errors import DeviceError
from ggmlrpc_metal.root import Root
from ggmlrpc_metal.segments import Segment, Segments

READ_PIECE = 4 << 20
"""Most bytes of one piece of `read`."""
FORGET_FROM = 1 << 20
"""Size of a segment from which the root pages under it are given back."""


def array_bytes(array: Any) -> np.ndarray:
    """The bytes of an evaluated array without gaps, without a copy; not to be written."""
    return np.asarray(array).reshape(-1).view(np.uint8)


class MetalBuffer:
    """Memory of the device; see ggmlrpc_core.device.Buffer.

    Attributes:
        size: bytes.
        root: the bytes that no segment has.
        segments: newer bytes in arrays.
    """

    def __init__(self, root: Root, size: int, on_free: Callable[[MetalBuffer], None]) -> None:
        self.size = size
        self.root = root
        self.segments = Segments()
        self._on_free = on_free
        self._freed = False

    # --- the contract

    def writable(self, offset: int, size: int) -> memoryview:
        """The root bytes; under a segment they mean nothing until commit."""
        return self.root.bytes.data[offset : offset + size]

    def commit(self, offset: int, size: int) -> None:
        """Root bytes of the range are the newest now."""
        self.uncover(offset, offset + size)
        self.root.dirty = True

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes where they are, in pieces."""
        for found in self.pieces(offset, offset + size):
            for start in range(0, len(found), READ_PIECE):
                yield found[start : start + READ_PIECE].data.toreadonly()

    def copy_from(self, src: Buffer, src_offset: int, dst_offset: int, size: int) -> bool:
        """Copy from another buffer of this device; declines others."""
        if not isinstance(src, MetalBuffer):
            return False
        pieces = list(src.pieces(src_offset, src_offset + size))
        if src is self:  # a piece may lie in the bytes that are written
            pieces = [np.concatenate(pieces)] if pieces else []
        self.uncover(dst_offset, dst_offset + size)
        self.root.dirty = True
        for piece in pieces:
            self.root.bytes[dst_offset : dst_offset + len(piece)] = piece
            dst_offset += len(piece)
        return True

    def fill(self, offset: int, size: int, value: int) -> None:
        """Set bytes; clearing what nobody wrote costs nothing."""
        clean = not self.root.dirty  # and then its bytes outside of segments are zero
        self.uncover(offset, offset + size)
        if value:
            self.root.bytes[offset : offset + size] = value
            self.root.dirty = True
        elif not clean:
            self.root.zero(offset, offset + size)

    def free(self) -> None:
        """Drop the plans that hold this buffer, and its memory."""
        if self._freed:
            raise DeviceError("free", "buffer", "freed twice", "a live buffer")
        self._freed = True
        self._on_free(self)
        self.segments.clear()
        del self.root

    # --- for stages

    def pieces(self, lo: int, hi: int) -> Iterator[np.ndarray]:
        """The newest bytes of [lo, hi) as uint8 arrays in order; not to be written."""
        for segment in self.segments.overlapping(lo, hi):
            if lo < segment.lo:
                yield self.root.bytes[lo : segment.lo]
                lo = segment.lo
            end = min(hi, segment.hi)
            yield array_bytes(segment.array)[lo - segment.lo : end - segment.lo]
            lo = end
        if lo < hi:
            yield self.root.bytes[lo:hi]

    def uncover(self, lo: int, hi: int) -> None:
        """Bytes [lo, hi) are about to be written in the root: end the segments there, keep what sticks out."""
        for segment in self.segments.overlapping(lo, hi):
            self.segments.remove(segment)
            self._write_back(segment, segment.lo, lo)
            self._write_back(segment, hi, segment.hi)

    def flush(self, lo: int, hi: int) -> None:
        """Write whole segments that touch [lo, hi) back into the root."""
        for segment in self.segments.overlapping(lo, hi):
            self.segments.remove(segment)
            self._write_back(segment, segment.lo, segment.hi)

    def cover(self, lo: int, hi: int, array: Any) -> None:
        """The newest bytes of [lo, hi) are those of an evaluated flat array."""
        found = self.segments.exact(lo, hi)
        if found is not None:
            found.array = array
            return
        self.uncover(lo, hi)
        self.segments.add(Segment(lo, hi, array))
        if hi - lo >= FORGET_FROM:
            self.root.forget(lo, hi)

    def newest(self, lo: int, hi: int) -> tuple[np.ndarray, int]:
        """Bytes that hold [lo, hi) in one piece, and where that starts in them; not to be written."""
        touching = self.segments.overlapping(lo, hi)
        if len(touching) == 1 and touching[0].lo <= lo and hi <= touching[0].hi:
            return array_bytes(touching[0].array), lo - touching[0].lo
        if touching:
            self.flush(lo, hi)
        return self.root.bytes, lo

    def _write_back(self, segment: Segment, lo: int, hi: int) -> None:
        """The part of a segment in [lo, hi) into the root."""
        lo, hi = max(lo, segment.lo), min(hi, segment.hi)
        if lo < hi:
            part = array_bytes(segment.array)[lo - segment.lo : hi - segment.lo]
            self.root.bytes[lo:hi] = part
            self.root.dirty = True
