"""How the bytes of device buffers are reached: received, read, written, filled, copied.

A device with `host_memory` is touched from the connection's own thread, any other one by jobs on
its worker. The caller has settled the devices (schedule.py) and checked the ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ggmlrpc_core.server.buffers import OwnedBuffer
from ggmlrpc_core.server.schedule import Schedule, ServedDevice

Take = Callable[[memoryview], None]


class Access:
    """Access to the buffers of one session. Offsets and sizes in bytes."""

    def __init__(self, devices: Sequence[ServedDevice], schedule: Schedule) -> None:
        self._devices = devices
        self._schedule = schedule

    def receive(self, owned: OwnedBuffer, offset: int, size: int, *, fill: Take) -> None:
        """Let `fill` fill [offset, offset + size), piece by piece, straight in the memory."""
        end = offset + size
        while offset < end:
            piece = owned.memory.writable(offset, end - offset)
            n = len(piece)
            fill(piece)
            self._on(owned.device, owned.memory.commit, offset, n)
            offset += n

    def write(self, owned: OwnedBuffer, offset: int, data: memoryview) -> None:
        """Copy bytes of the host into a buffer."""
        done = 0

        def fill(piece: memoryview) -> None:
            nonlocal done
            piece[:] = data[done : done + len(piece)]
            done += len(piece)

        self.receive(owned, offset, len(data), fill=fill)

    def read(self, owned: OwnedBuffer, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes of a range; each piece is valid until the next is asked for."""
        pieces = owned.memory.read(offset, size)
        if self._devices[owned.device].host_memory:
            yield from pieces
            return
        while (piece := self._schedule.call(owned.device, lambda: next(pieces, None))) is not None:
            yield piece

    def fill(self, owned: OwnedBuffer, offset: int, size: int, *, value: int) -> None:
        """Set every byte of a range."""
        if size:
            self._on(owned.device, owned.memory.fill, offset, size, value)

    def copy(
        self, src: OwnedBuffer, src_offset: int, dst: OwnedBuffer, dst_offset: int, size: int
    ) -> None:
        """Copy between buffers of any two devices; overlap is allowed."""
        if size == 0:
            return
        if src.device == dst.device and self._on(
            dst.device, dst.memory.copy_from, src.memory, src_offset, dst_offset, size
        ):
            return
        pieces = self.read(src, src_offset, size)
        if src is dst:  # the device declined, and the ranges may overlap
            pieces = iter([memoryview(b"".join(pieces))])
        for piece in pieces:
            self.write(dst, dst_offset, piece)
            dst_offset += len(piece)

    def _on(self, device: int, function: Callable[..., Any], *args: Any) -> Any:
        """Call a method of a buffer on the thread that may touch it."""
        if self._devices[device].host_memory:
            return function(*args)
        return self._schedule.call(device, lambda: function(*args))
