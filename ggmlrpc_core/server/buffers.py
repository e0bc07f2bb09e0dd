"""The buffers of one session: handles, virtual addresses, accounts.

A handle is a random 64-bit number and an address is one that this module made up, so a client can
name only what it was given and learns nothing about the process. Knows no wire and no thread.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right, insort
from dataclasses import dataclass
from typing import Any

from ggmlrpc_core.errors import BufferNotFound
from ggmlrpc_core.graph.bind import Bound

LOWEST_ADDRESS = 1 << 32
HIGHEST_ADDRESS = 1 << 47
"""End of the addresses that are handed out: clients do pointer arithmetic with them, and 47 bits
is what their machines use for pointers."""
PAGE = 4096
"""Addresses are multiples of it, and so far apart that ranges of two buffers never touch."""


class AddressSpace:
    """Hands out ranges of addresses; a range comes back only after all others were used."""

    def __init__(self) -> None:
        self._next = LOWEST_ADDRESS
        self._live: list[tuple[int, int]] = []  # (first, end), sorted

    def take(self, size: int, alignment: int) -> int | None:
        """The first address of a free range of `size` bytes; None when there is none."""
        step = max(PAGE, alignment)
        for start in (self._next, LOWEST_ADDRESS):
            first = self._first_fit(start, size, step)
            if first is not None:
                insort(self._live, (first, first + size))
                self._next = first + size
                return first
        return None

    def give_back(self, first: int, size: int) -> None:
        """Release a range that was taken."""
        self._live.remove((first, first + size))

    def _first_fit(self, start: int, size: int, step: int) -> int | None:
        at = bisect_right(self._live, (start, HIGHEST_ADDRESS))
        if at and self._live[at - 1][1] >= start:
            start = self._live[at - 1][1]
        for first, end in [*self._live[at:], (HIGHEST_ADDRESS, HIGHEST_ADDRESS)]:
            candidate = -(-(start + 1) // step) * step  # a gap of at least one byte
            if candidate + size < first:
                return candidate
            start = end
        return None


@dataclass(frozen=True, slots=True, eq=False)
class OwnedBuffer:
    """A buffer of a session.

    Attributes:
        handle: remote_ptr.
        device: index into the server's devices.
        bound: the device's buffer (None for one of size 0), its base and size.
        charged: bytes taken from the budgets for it.
    """

    handle: int
    device: int
    bound: Bound
    charged: int = 0

    @property
    def memory(self) -> Any:
        """The device's buffer."""
        return self.bound.buffer


class BufferTable:
    """What one session owns, by handle."""

    def __init__(self) -> None:
        self._owned: dict[int, OwnedBuffer] = {}
        self._addresses = AddressSpace()

    def __len__(self) -> int:
        return len(self._owned)

    def add(
        self, device: int, memory: Any, *, size: int, alignment: int, charged: int
    ) -> OwnedBuffer | None:
        """Give a device's buffer a handle and a base; None when no address is left.

        A buffer of size 0 has base 0.
        """
        base = self._addresses.take(size, alignment) if size else 0
        if base is None:
            return None
        handle = 0
        while handle == 0 or handle in self._owned:
            handle = secrets.randbits(64)
        owned = OwnedBuffer(handle, device, Bound(memory, base, size), charged)
        self._owned[handle] = owned
        return owned

    def find(self, command: str, handle: int) -> OwnedBuffer:
        """The buffer that a request names.

        Raises:
            BufferNotFound: the session does not own it.
        """
        owned = self._owned.get(handle)
        if owned is None:
            raise BufferNotFound(
                command, "remote_ptr", f"{handle:#x}", "a buffer of this connection"
            )
        return owned

    def get(self, handle: int) -> OwnedBuffer | None:
        """The buffer of a handle; None when the session does not own it."""
        return self._owned.get(handle)

    def resolve(self, handle: int) -> Bound | None:
        """The same as graph/bind.py wants it."""
        owned = self._owned.get(handle)
        return None if owned is None else owned.bound

    def remove(self, owned: OwnedBuffer) -> None:
        """Forget a buffer; its handle will not come again, its addresses may."""
        del self._owned[owned.handle]
        if owned.bound.size:
            self._addresses.give_back(owned.bound.base, owned.bound.size)

    def take_all(self) -> list[OwnedBuffer]:
        """Forget every buffer and return them."""
        owned = list(self._owned.values())
        for one in owned:
            self.remove(one)
        return owned
