"""Virtual handles and addresses: what a recorded client sees instead of the server's own.

Buffer k of a recording has the handle k and begins at an address that is a multiple of 64 GiB, whatever the server
said; buffers follow each other in the order of their allocation. So a recording has no server's numbers in it, two
recordings of one run are equal, and any address can be read back as a buffer and an offset. Knows no message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.lines import U64

SLOT = 1 << 36
"""Bytes of address space of one buffer up to that size; a larger one takes several slots."""

BEFORE = 1 << 20
"""An address this little before its tensor's own buffer still counts as an offset in it, a negative one."""

MAX_BUFFERS = 1 << 20
"""Buffers in one recording."""


class Space:
    """The buffers of a recording, in order of allocation; a freed one keeps its place."""

    def __init__(self) -> None:
        self._bases = [0]  # slot 0 is nobody's: handle 0 means none
        self._next = SLOT
        self._array: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._bases) - 1

    def add(self, size: int) -> int:
        """A new buffer; returns its handle.

        Raises:
            RecordingError: more than MAX_BUFFERS.
        """
        if len(self) >= MAX_BUFFERS:
            raise RecordingError("recording", "buffers", len(self) + 1, f"at most {MAX_BUFFERS}")
        self._bases.append(self._next)
        self._next += max(1, -(-size // SLOT)) * SLOT
        self._array = None
        return len(self)

    def has(self, handle: int) -> bool:
        """Whether a handle is one of the recording's buffers."""
        return 0 < handle < len(self._bases)

    def base(self, handle: int) -> int:
        """Address of the first byte."""
        return self._bases[handle]

    @property
    def bases(self) -> np.ndarray:
        """uint64 [n + 1]: base by handle, 0 for handle 0."""
        if self._array is None:
            self._array = np.array(self._bases, np.uint64)
        return self._array

    def place(self, address: int, buffer: int) -> tuple[int, int] | None:
        """The buffer and offset that an address means in a tensor of a buffer; None when it is in none."""
        if self.has(buffer):
            offset = address - self._bases[buffer]
            if -BEFORE <= offset < SLOT:
                return buffer, offset
        if not SLOT <= address < self._next:
            return None
        handle = int(np.searchsorted(self.bases, np.uint64(address), side="right")) - 1
        return handle, address - self._bases[handle]


class Rebinder:
    """Turns a recording's handles and addresses into a server's.

    Attributes:
        space: of the recording.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._handles: dict[int, int] = {}
        self._bases: dict[int, int] = {}
        self._arrays: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def bind_handle(self, handle: int, real: int) -> None:
        """A buffer's handle on the server."""
        self._handles[handle] = real
        self._arrays = None

    def bind_base(self, handle: int, real: int) -> None:
        """A buffer's first address on the server."""
        self._bases[handle] = real
        self._arrays = None

    def handle(self, handle: int) -> int:
        """A handle for the server; one that means nothing stays."""
        return self._handles.get(handle, handle)

    def has_base(self, handle: int) -> bool:
        """Whether the first address is known."""
        return handle in self._bases

    def tensors(self, rows: np.ndarray) -> None:
        """Rewrite `buffer` and `data` of rpc_tensors in place.

        Args:
            rows: structured array of a dialect's rpc_tensor, writable.
        """
        bases = self.space.bases
        real_handles, real_bases, bound = self._maps(len(bases))
        buffer, data = rows["buffer"].astype(np.uint64), rows["data"].astype(np.uint64)
        known = (buffer > 0) & (buffer < len(bases))
        own = np.where(known, buffer, 0).astype(np.int64)
        offset = data - bases[own]  # wraps below the base
        near = known & ((offset < np.uint64(SLOT)) | (offset >= np.uint64((1 << 64) - BEFORE)))
        slot = np.searchsorted(bases, data, side="right") - 1
        place = np.where(near, own, slot)
        inside = (
            (place > 0) & (data < np.uint64(self.space._next) + np.uint64(BEFORE)) & bound[place]
        )
        moved = real_bases[place] + (data - bases[place])
        rows["data"] = np.where(inside, moved, data)
        rows["buffer"] = np.where(known, real_handles[own], buffer)

    def _maps(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Arrays by handle: the server's handle, its first address, whether that is known."""
        if self._arrays is None or len(self._arrays[0]) != n:
            handles, bases = np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64)
            bound = np.zeros(n, bool)
            for handle, real in self._handles.items():
                handles[handle] = real
            for handle, real in self._bases.items():
                bases[handle], bound[handle] = real, True
            self._arrays = handles, bases, bound
        return self._arrays


POINTER_STEP = 16


class Pointers:
    """A client's own pointers by the order of their first use: names of tensors, and addresses of no buffer of ours."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {0: 0}
        self._values: list[int] = [0]

    def number(self, pointer: int) -> int:
        """The number of a pointer; 0 for 0."""
        found = self._known.get(pointer)
        if found is None:
            found = self._known[pointer] = len(self._values)
            self._values.append(pointer)
        return found

    def pointer(self, number: int) -> int:
        """The pointer of a number that number() gave; for others one that looks like a pointer."""
        return self._values[number] if number < len(self._values) else made_up(number)


class MadeUp:
    """Pointers of nobody, by number: what a player sends."""

    def number(self, pointer: int) -> int:
        """The number of a pointer that pointer() made."""
        return pointer // POINTER_STEP

    def pointer(self, number: int) -> int:
        """A pointer; 0 for 0."""
        return made_up(number)


def made_up(number: int) -> int:
    """A pointer below every virtual address."""
    return number * POINTER_STEP


MAX_NUMBER = SLOT // POINTER_STEP - 1
"""Largest number of a pointer in a recording."""


def address_out(space: Space, pointers: Any, address: int, buffer: int) -> Any:
    """How an address is written: an offset in the tensor's own buffer, [buffer, offset], or {"ptr": n}."""
    place = space.place(address, buffer)
    if place is None:
        return {"ptr": pointers.number(address)}
    return place[1] if place[0] == buffer else list(place)


def address_in(space: Space, pointers: Any, value: Any, buffer: int, fields: Any) -> int:
    """Read what address_out() wrote."""
    if isinstance(value, Mapping):
        number = value.get("ptr") if len(value) == 1 else None
        return int(pointers.pointer(fields.as_number(number, "at", least=1, most=MAX_NUMBER)))
    if isinstance(value, list):
        if len(value) != 2:
            fields.fail("at", value, "an offset, [buffer, offset] or a pointer")
        buffer, value = value
    if isinstance(buffer, bool) or not isinstance(buffer, int) or not space.has(buffer):
        fields.fail("at", value, "in a buffer of the recording")
    offset = fields.as_number(value, "at", least=-BEFORE, most=U64 >> 1)
    return (space.base(buffer) + offset) & U64
