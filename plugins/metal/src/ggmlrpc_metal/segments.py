"""Disjoint ranges of a buffer whose newest bytes are in an array, or will be: bookkeeping without MLX and bytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Segment:
    """Bytes [lo, hi) of a buffer are those of `array`.

    In a buffer it is evaluated and without gaps, and None while a stage makes it anew; in a plan it is a value.
    """

    lo: int
    hi: int
    array: Any


class Segments:
    """The segments of one buffer, sorted; no two overlap.

    Attributes:
        version: another number after every change of ranges.
    """

    def __init__(self) -> None:
        self.version = 0
        self._starts: list[int] = []
        self._at: dict[int, Segment] = {}

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Segment]:
        return iter([self._at[lo] for lo in self._starts])

    def exact(self, lo: int, hi: int) -> Segment | None:
        """The segment of just this range."""
        found = self._at.get(lo)
        return found if found is not None and found.hi == hi else None

    def overlapping(self, lo: int, hi: int) -> list[Segment]:
        """Segments that share a byte with [lo, hi), in order."""
        if lo >= hi:
            return []
        first = bisect_right(self._starts, lo)
        if first and self._at[self._starts[first - 1]].hi > lo:
            first -= 1
        return [self._at[at] for at in self._starts[first : bisect_left(self._starts, hi)]]

    def add(self, segment: Segment) -> None:
        """Take a segment that overlaps no other."""
        self.version += 1
        self._starts.insert(bisect_left(self._starts, segment.lo), segment.lo)
        self._at[segment.lo] = segment

    def remove(self, segment: Segment) -> None:
        """Forget a segment."""
        self.version += 1
        del self._at[segment.lo]
        del self._starts[bisect_left(self._starts, segment.lo)]

    def clear(self) -> None:
        """Forget all."""
        self.version += 1
        self._starts.clear()
        self._at.clear()
