"""Answers against expectations: equal bytes, or values within a tolerance. Knows no socket.

    "exact"                       byte for byte
    {"nmse": 1e-4}                sum (got - expected)^2 <= 1e-4 x sum expected^2, in float64
    {"abs": 1e-3}                 no value further off than that
    "computed"                    the tolerance in the head of the recording

Where values are compared, infinities and NaN must be at the same places. Only F32, F16 and BF16 have a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ggmlrpc_core.errors import RecordingError

VALUE_SIZES = {"F32": 4, "F16": 2, "BF16": 2}
RULES = ("nmse", "abs")


def check_tolerance(value: Any, *, where: str) -> Any:
    """A tolerance as it may be in a recording.

    Raises:
        RecordingError: it is none.
    """
    if value == "exact":
        return value
    if isinstance(value, Mapping) and value and set(value) <= set(RULES):
        bounds = [
            b for b in value.values() if not isinstance(b, bool) and isinstance(b, int | float)
        ]
        if len(bounds) == len(value) and all(0 <= b < math.inf for b in bounds):
            return {key: float(bound) for key, bound in value.items()}
    raise RecordingError(where, "tol", repr(value), '"exact", {"nmse": x} or {"abs": x}')


@dataclass(frozen=True, slots=True)
class Difference:
    """How an answer differs from what is expected.

    Attributes:
        equal: byte for byte.
        nmse: of the values, None when they were not compared as values.
        most: largest difference of two values, likewise.
        fault: what is wrong, "" when it is within the tolerance.
    """

    equal: bool
    nmse: float | None = None
    most: float | None = None
    fault: str = ""


class Comparison:
    """Compares data as it comes.

    Args:
        expected: pieces of what is expected.
        tolerance: see above; not "computed".
        ggml_type: of the tensor that was read, "" when unknown.
    """

    def __init__(self, expected: Iterator[bytes], *, tolerance: Any, ggml_type: str) -> None:
        self._expected = expected
        self._tolerance = tolerance
        self._type = ggml_type
        self._as_values = tolerance != "exact" and ggml_type in VALUE_SIZES
        self._rest = b""
        self._got_rest = b""
        self._first_wrong: int | None = None
        self._at = 0
        self._error = self._energy = self._most = 0.0
        self._mask_at: int | None = None

    def feed(self, piece: bytes | bytearray | memoryview) -> None:
        """The next bytes of the answer."""
        data = self._got_rest + bytes(piece)
        size = VALUE_SIZES.get(self._type, 1) if self._as_values else 1
        whole = len(data) // size * size
        self._got_rest = data[whole:]
        got = data[:whole]
        want = self._take(len(got))
        if got != want:
            if self._first_wrong is None:
                self._first_wrong = self._at + _first_difference(got, want)
            if len(got) != len(want):
                self._as_values = False
        if self._as_values:
            self._values(got, want)
        self._at += len(got)

    def result(self) -> Difference:
        """After the last byte."""
        if self._first_wrong is None and not self._got_rest:
            zero = 0.0 if self._as_values else None
            return Difference(True, zero, zero)
        if self._got_rest:
            return Difference(
                False, fault=f"{len(self._got_rest)} bytes are left, expected whole values"
            )
        if not self._as_values:
            return Difference(
                False, fault=f"byte {self._first_wrong} differs, expected equal bytes"
            )
        if self._mask_at is not None:
            what = f"value {self._mask_at} is not finite where the other is"
            return Difference(False, fault=f"{what}, expected the same places")
        nmse = self._error / self._energy if self._energy else math.inf if self._error else 0.0
        faults = [
            f"{rule} is {found:.3g}, expected at most {self._tolerance[rule]:.3g}"
            for rule, found in (("nmse", nmse), ("abs", self._most))
            if rule in self._tolerance and not found <= self._tolerance[rule]
        ]
        return Difference(False, nmse, self._most, "; ".join(faults))

    def _take(self, n: int) -> bytes:
        """The next n expected bytes."""
        while len(self._rest) < n:
            piece = next(self._expected, b"")
            if not piece:
                break
            self._rest += piece
        taken, self._rest = self._rest[:n], self._rest[n:]
        return taken

    def _values(self, got: bytes, want: bytes) -> None:
        a, b = values(got, self._type), values(want, self._type)
        finite = np.isfinite(a) & np.isfinite(b)
        same = finite | (a == b) | (np.isnan(a) & np.isnan(b))
        if self._mask_at is None and not same.all():
            self._mask_at = self._at // VALUE_SIZES[self._type] + int(np.argmin(same))
        a, b = a[finite], b[finite]
        if a.size:
            off = a - b
            self._error += float(np.dot(off, off))
            self._energy += float(np.dot(b, b))
            self._most = max(self._most, float(np.abs(off).max()))


def values(data: bytes, ggml_type: str) -> np.ndarray:
    """f64 values of the bytes of a float type."""
    if ggml_type == "F32":
        return np.frombuffer(data, "<f4").astype(np.float64)
    if ggml_type == "F16":
        return np.frombuffer(data, "<f2").astype(np.float64)
    bits = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32).astype(np.float64)


def _first_difference(a: bytes, b: bytes) -> int:
    n = min(len(a), len(b))
    wrong = np.flatnonzero(np.frombuffer(a, np.uint8, n) != np.frombuffer(b, np.uint8, n))
    return int(wrong[0]) if wrong.size else n
