"""Allocation and release for one session, with accounts that stay true whatever fails when.

A piece of device memory is either in the table of buffers or loose: allocated and not yet named,
or no longer named and not yet freed. What is loose or in the table when the session ends is freed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ggmlrpc_core.errors import OutOfDeviceMemory
from ggmlrpc_core.server.buffers import HIGHEST_ADDRESS, BufferTable, OwnedBuffer
from ggmlrpc_core.server.limits import Budget
from ggmlrpc_core.server.schedule import Schedule
from ggmlrpc_core.server.services import Services


class SessionMemory:
    """The memory of one session on all devices.

    Attributes:
        table: its buffers by handle.
    """

    def __init__(self, services: Services, schedule: Schedule) -> None:
        self.table = BufferTable()
        self._devices = services.devices
        self._schedule = schedule
        self._most_buffers = services.limits.buffers_per_client
        self._all = services.memory
        self._own = Budget(services.limits.memory_per_client)
        self._loose: set[tuple[int, Any]] = set()  # (device, memory)

    @property
    def used(self) -> int:
        """Bytes of the session's buffers."""
        return self._own.used

    def allocate(self, device: int, size: int) -> OwnedBuffer | None:
        """A new buffer; None when a limit, the device or the address space says no.

        Raises:
            LaneEnded: earlier work of the session has failed.
        """
        if len(self.table) >= self._most_buffers:
            return None
        worker = self._devices[device].worker
        alignment = worker.device.alignment
        if size == 0:
            return self.table.add(device, None, size=0, alignment=alignment, charged=0)
        if size > min(worker.device.max_size, HIGHEST_ADDRESS) or not self._charge(size):
            return None

        def alloc() -> Any:
            try:
                memory = worker.device.alloc(size)
            except (OutOfDeviceMemory, MemoryError):
                return None
            self._loose.add((device, memory))
            return memory

        memory = self._schedule.call(device, alloc)
        if memory is None:
            self._refund(size)
            return None
        owned = self.table.add(device, memory, size=memory.size, alignment=alignment, charged=size)
        if owned is None:
            self._release(device, memory, size)
            return None
        self._loose.discard((device, memory))
        return owned

    def free(self, owned: OwnedBuffer) -> None:
        """Forget a buffer, and free it after the work that was queued before."""
        self.table.remove(owned)
        if owned.memory is not None:
            self._loose.add((owned.device, owned.memory))
            self._release(owned.device, owned.memory, owned.charged)

    def figures(self, free: int, total: int) -> tuple[int, int]:
        """(free, total) bytes of a device as they are under the limits."""
        return self._all.figures(*self._own.figures(free, total))

    def close(self) -> None:
        """Stop the session's work and free everything; called once, at the end."""
        for owned in self.table.take_all():
            if owned.memory is not None:
                self._loose.add((owned.device, owned.memory))
        self._schedule.close(
            [partial(self._free_loose, device) for device in range(len(self._devices))]
        )
        self._all.give_back(self._own.used)

    def _release(self, device: int, memory: Any, charged: int) -> None:
        def free() -> None:
            memory.free()
            self._loose.discard((device, memory))
            self._refund(charged)

        self._schedule.submit(device, free)

    def _free_loose(self, device: int) -> None:
        fault: Exception | None = None
        for where, memory in list(self._loose):
            if where == device:
                self._loose.discard((where, memory))
                try:
                    memory.free()
                except Exception as exc:  # the others are freed all the same
                    fault = exc
        if fault is not None:
            raise fault

    def _charge(self, size: int) -> bool:
        if not self._own.take(size):
            return False
        if not self._all.take(size):
            self._own.give_back(size)
            return False
        return True

    def _refund(self, size: int) -> None:
        self._own.give_back(size)
        self._all.give_back(size)
