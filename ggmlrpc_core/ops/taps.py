"""Sliding windows along dimensions: which input element each tap of a kernel meets, and back.

Shared by convolutions, their gradients and pooling. Positions are made on the host; arrays are only gathered, so a
position outside its range is never used as an index. Knows no op.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Columns, Nodes
from ggmlrpc_core.ops.values import constant

Positions = tuple[np.ndarray, np.ndarray]
"""(index, inside): int64 and bool of one length; an index is meaningful where `inside`."""

LIMIT = 2**31
"""Extents and parameters below it cannot overflow the int64 sums and products of two of them."""


@dataclass(frozen=True, slots=True)
class Span:
    """A window that slides along one axis.

    Attributes:
        axis: of the array, NumPy order.
        n_taps: elements of the window.
        n_out: places of the window.
        stride, pad, dilation: tap j at place o meets element o * stride + j * dilation - pad.
    """

    axis: int
    n_taps: int
    n_out: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    def met(self, tap: int, size: int) -> Positions:
        """The element that a tap meets at each place, of an axis of `size` elements."""
        at = np.arange(self.n_out) * self.stride + (tap * self.dilation - self.pad)
        return at, (at >= 0) & (at < size)

    def places(self, tap: int, size: int) -> Positions:
        """The place at which a tap meets each of `size` elements."""
        at = np.arange(size) - (tap * self.dilation - self.pad)
        place = at // self.stride
        return place, (at % self.stride == 0) & (place >= 0) & (place < self.n_out)

    def useful(self, size: int) -> Sequence[int]:
        """The taps that meet an element at some place; a window may be far wider than the data."""
        if self.n_taps <= self.n_out * size:
            return range(self.n_taps)
        first = self.pad - np.arange(self.n_out) * self.stride
        reach = np.unique(first[:, None] + np.arange(size)[None, :])
        taps = reach[reach % self.dilation == 0] // self.dilation
        return [int(tap) for tap in taps if 0 <= tap < self.n_taps]


def pick(xp: Any, x: Any, axis: int, positions: Positions, *, fill: float = 0.0) -> Any:
    """The elements of x at positions along an axis, `fill` where a position is outside."""
    at, inside = positions
    size = x.shape[axis]
    if inside.all():
        if len(at) == size and np.array_equal(at, np.arange(size)):
            return x
        return xp.take(x, constant(xp, at, np.int32), axis=axis)
    taken = xp.take(x, constant(xp, np.where(inside, at, 0), np.int32), axis=axis)
    shape = [1] * len(x.shape)
    shape[axis] = len(at)
    return xp.where(constant(xp, inside.reshape(shape), np.bool_), taken, fill)


def patches(
    xp: Any, x: Any, spans: Sequence[Span], *, fill: float = 0.0
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """For each useful combination of taps, first span slowest: the taps, and x at every place."""
    if not spans:
        yield (), x
        return
    span, rest = spans[0], spans[1:]
    size = x.shape[span.axis]
    for tap in span.useful(size):
        met = pick(xp, x, span.axis, span.met(tap, size), fill=fill)
        for taps, part in patches(xp, met, rest, fill=fill):
            yield (tap, *taps), part


def spread(xp: Any, x: Any, span: Span, tap: int, size: int) -> Any:
    """Put the values of all places at the element that a tap meets, 0 elsewhere: the reverse of `pick`."""
    return pick(xp, x, span.axis, span.places(tap, size))


def conv_extent(
    size: np.ndarray, taps: np.ndarray, *, stride: np.ndarray, pad: np.ndarray, dilation: np.ndarray
) -> np.ndarray:
    """How many places a window has, counted as ggml counts: the quotient is cut towards 0."""
    rest = size + 2 * pad - dilation * (taps - 1) - 1
    stride = np.maximum(stride, 1)
    return np.where(rest >= 0, rest // stride, -(-rest // stride)) + 1


def at_least_one(c: Nodes, slot: int, name: str) -> None:
    """An integer parameter is 1 or more."""
    c.require(c.i32(slot) >= 1, name, c.i32(slot), "at least 1")


def sizes_in_range(c: Nodes, *slots: int, least: int = 1) -> None:
    """Sources have no extent below `least` or so large that positions overflow."""
    for slot in slots:
        s: Columns = c.src(slot)
        ok = ((s.ne >= least) & (s.ne < LIMIT)).all(axis=1)
        c.require(ok, f"src[{slot}].ne", s.ne, f"extents inside [{least}, {LIMIT})")
