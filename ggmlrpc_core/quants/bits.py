"""Bit and rounding helpers shared by the block formats, for any array namespace.

Everything here is pure: no assignment into arrays, no boolean read of an array. It knows no type by name.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = Any
"""An array of the namespace `xp` that comes with it."""

_ROUND_F32 = 12582912.0
"""1.5 * 2^23: adding it to a float32 leaves the nearest integer in the low 23 bits."""


def field(xp: Any, blocks: Array, start: int, stop: int, dtype: Any) -> Array:
    """Bytes [start, stop) of every block, read as `dtype`; shape [n, items]."""
    part = blocks[:, start:stop]
    if dtype == xp.int8 or dtype == xp.uint8:
        return part.view(dtype)
    return contiguous(xp, part).view(dtype)


def contiguous(xp: Any, a: Array) -> Array:
    """`a` in row-major order without gaps."""
    return xp.ascontiguousarray(a) if hasattr(xp, "ascontiguousarray") else xp.contiguous(a)


def half(xp: Any, blocks: Array, start: int) -> Array:
    """The float16 at byte `start` of every block, as float32; shape [n, 1]."""
    return field(xp, blocks, start, start + 2, xp.float16).astype(xp.float32)


def nibbles(xp: Any, packed: Array) -> Array:
    """Split bytes [n, g, m] into values 0..15 [n, g * 2 * m]: the low halves of a group, then the high."""
    return xp.stack([packed & 15, packed >> 4], axis=2).reshape(packed.shape[0], -1)


def crumbs(xp: Any, packed: Array) -> Array:
    """Split bytes [n, g, m] into values 0..3 [n, g * 4 * m]: bits 0-1 of a group, then 2-3, 4-5, 6-7."""
    parts = [packed & 3, (packed >> 2) & 3, (packed >> 4) & 3, packed >> 6]
    return xp.stack(parts, axis=2).reshape(packed.shape[0], -1)


def byte_table(xp: Any, table: np.ndarray, index: Array) -> Array:
    """Rows of a table of 2, 4 or 8 bytes per row, taken as one integer each.

    Args:
        table: host array, int8 or uint8, [rows, 2 | 4 | 8].
        index: integers [n, m] below `rows`.

    Returns:
        Array of the table's dtype, [n, m * bytes per row].
    """
    wide = {2: np.int16, 4: np.int32, 8: np.int64}[table.shape[1]]
    taken = xp.take(xp.asarray(table.view(wide).reshape(-1)), index)
    return taken.view(getattr(xp, table.dtype.name))


def scaled(xp: Any, d: Array, q: Array) -> Array:
    """Quants times the scale of their group: d [n, g] times q [n, k] gives float32 [n, k]."""
    n, k = q.shape
    if d.shape[1] == 1:
        return d * q.astype(xp.float32)
    groups = q.reshape(n, d.shape[1], -1).astype(xp.float32)
    return (d[:, :, None] * groups).reshape(n, k)


def raw_bytes(xp: Any, a: Array) -> Array:
    """The bytes of an array [n, m], as uint8 [n, m * itemsize]."""
    return contiguous(xp, a).view(xp.uint8)


def join(xp: Any, parts: Sequence[Array]) -> Array:
    """Fields of blocks side by side; each [n, m] of any dtype gives uint8 [n, type_size]."""
    return xp.concatenate([raw_bytes(xp, part) for part in parts], axis=1)


def pack(xp: Any, q: Array, *, groups: int, bits: int) -> Array:
    """Undo `nibbles` (bits=4) and `crumbs` (bits=2).

    Args:
        q: values below 2**bits, [n, k].
        groups: how many groups of bytes a block has.
        bits: per value; a group holds 8 / bits runs of values, the first in the lowest bits.

    Returns:
        uint8 [n, k * bits / 8].
    """
    n = q.shape[0]
    runs = q.astype(xp.uint8).reshape(n, groups, 8 // bits, -1)
    parts = [runs[:, :, i] << (bits * i) for i in range(8 // bits)]
    return functools.reduce(operator.or_, parts).reshape(n, -1)


def nearest_int(xp: Any, x: Array) -> Array:
    """Round float32 to the nearest int32, halves to even, as the stock quantizers do.

    Beyond +-4194303 the result is what is left in the low 23 bits, like there; NaN gives 0.
    Source: ggml-quants.c nearest_int.
    """
    return ((x + _ROUND_F32).view(xp.int32) & 0x7FFFFF) - 0x400000


def round_away(xp: Any, x: Array) -> Array:
    """Round to the nearest integer, halves away from zero (C's roundf); keeps the dtype."""
    size = xp.abs(x)
    down = xp.floor(size)
    return (down + (size - down >= 0.5).astype(x.dtype)) * xp.sign(x)


def clamp(xp: Any, x: Array, low: float, high: float) -> Array:
    """x between two scalars of its own kind."""
    return xp.minimum(xp.maximum(x, low), high)


def inverse(xp: Any, d: Array) -> Array:
    """1 / d, and 0 where d is 0."""
    return xp.where(d != 0, 1.0 / d, 0.0)


def ordered_sum(rows: Array) -> Array:
    """Sum over axis 0, one row after the other.

    The stock quantizers add in this order, and the last bits of the sums decide between candidates.
    """
    return functools.reduce(operator.add, (rows[i] for i in range(rows.shape[0])))


def extreme(xp: Any, x: Array, axis: int) -> Array:
    """The element of greatest size with its sign, the first among equals; keeps the axis."""
    index = xp.expand_dims(xp.argmax(xp.abs(x), axis=axis), axis)
    return xp.take_along_axis(x, index, axis=axis)


def f32(value: float | np.floating) -> float:
    """A constant rounded to float32, as a Python float that every namespace takes without widening."""
    return float(np.float32(value))
