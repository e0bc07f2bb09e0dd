"""How near a result must come: masks, whole error, worst row, largest error, ties. Pure arithmetic.

The denominator is the reference's energy, so that a wrong result cannot make itself small. Source: the study of
test suites behind this one; a matched infinity or NaN is compared as such and then left out of the sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROW_FACTOR = 30.0
"""How far above the limit of the whole one row may be."""
SMALLEST = 2.0**-126
"""What a result may be where the reference is zero everywhere: below the smallest normal of F32."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a result is from the reference.

    Attributes:
        nmse: sum of squared differences over that of the reference's squares.
        row: the same for the worst row (dimension 0), over the mean energy of a row.
        largest: largest difference over the root mean square of the reference.
        mask: where infinities or NaN differ, in words; empty when they do not.
    """

    nmse: float
    row: float
    largest: float
    mask: str = ""


def distance(got: np.ndarray, want: np.ndarray) -> Distance:
    """Compare two arrays of the same shape; integers exactly, by nmse 0 or infinity."""
    got64, want64 = np.asarray(got, np.float64), np.asarray(want, np.float64)
    mask = _mask(got64, want64)
    if mask:
        return Distance(np.inf, np.inf, np.inf, mask)
    finite = np.isfinite(want64)
    off = np.where(finite, got64 - np.where(finite, want64, 0.0), 0.0)
    with np.errstate(invalid="ignore"):
        off = np.where(finite, off, 0.0)
        square, energy = np.square(off), np.square(np.where(finite, want64, 0.0))
    total, error = float(energy.sum()), float(square.sum())
    if error == 0.0:
        return Distance(0.0, 0.0, 0.0)
    if total == 0.0:
        near = float(np.abs(off).max()) < SMALLEST
        return Distance(0.0, 0.0, 0.0) if near else Distance(np.inf, np.inf, np.inf)
    rows = square.reshape(-1, square.shape[-1] if square.ndim else 1).sum(axis=1)
    count = max(int(finite.sum()), 1)
    rms = np.sqrt(total / count)
    return Distance(
        nmse=error / total,
        row=float(rows.max()) / (total / max(len(rows), 1)),
        largest=float(np.abs(off).max() / rms),
    )


def _mask(got: np.ndarray, want: np.ndarray) -> str:
    """Where NaN, +inf and -inf are not at the same places."""
    if got.shape != want.shape:
        return f"a shape of {list(got.shape)} in place of {list(want.shape)}"
    for name, find in (("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf)):
        here, there = find(got), find(want)
        if not np.array_equal(here, there):
            at = int(np.flatnonzero(here != there)[0])
            return f"{name} at element {at} is {'there' if here.flat[at] else 'missing'}"
    return ""
