"""JSON Lines read and written with bounds: a recording may come from a stranger.

Holds what is true of every line (length, plain values, exact integers) and the helpers that check one field. Must not
know what lines mean. Source of the format: docs/reference/ggrec.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO, NoReturn

from ggmlrpc_core.errors import RecordingError

MAX_LINE = 1 << 20
"""Bytes of one line, its end included."""

EXACT_INTEGER = 1 << 53
"""From here on integers are written as "0x..." text: many JSON readers round larger ones."""

U64 = (1 << 64) - 1

Line = dict[str, Any]


def dumps(line: Mapping[str, Any]) -> bytes:
    """One line with its end; ASCII, so that every tool reads the same bytes.

    Raises:
        RecordingError: longer than MAX_LINE.
    """
    data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(data) > MAX_LINE:
        raise RecordingError("line", "length", f"{len(data)} bytes", f"at most {MAX_LINE}")
    return data


def read_lines(stream: BinaryIO, *, name: str) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of every whole line.

    A last line without an end is left out: whoever wrote it was stopped in the middle of it.

    Raises:
        RecordingError: a line is longer than MAX_LINE.
    """
    number = 0
    while data := stream.readline(MAX_LINE + 1):
        number += 1
        if len(data) > MAX_LINE:
            raise RecordingError(
                name, f"line {number}", f"longer than {MAX_LINE} bytes", f"at most {MAX_LINE} bytes"
            )
        if not data.endswith(b"\n"):
            return
        yield number, data


def loads(data: bytes, *, where: str) -> Line:
    """Parse one line.

    Raises:
        RecordingError: not a JSON object, or one with numbers or nesting that no recording has.
    """
    try:
        line = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as exc:
        raise RecordingError(where, "text", str(exc), "a JSON object") from exc
    if not isinstance(line, dict):
        raise RecordingError(where, "text", type(line).__name__, "a JSON object")
    return line


def number_out(value: int) -> int | str:
    """An integer as it is written."""
    return value if -EXACT_INTEGER < value < EXACT_INTEGER else hex(value)


class Fields:
    """The fields of one line, taken one by one with their types; what nobody took is an error.

    Args:
        line: the parsed object.
        where: begins every message, "x.ggrec line 12".
    """

    def __init__(self, line: Mapping[str, Any], *, where: str) -> None:
        self._left = dict(line)
        self.where = where

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, default: Any = None) -> Any:
        """Any value, unchecked."""
        return self._left.pop(key, default)

    def number(
        self, key: str, *, least: int = 0, most: int = U64, default: int | None = None
    ) -> int:
        """An integer in a range, written as a number or as "0x..."."""
        if default is not None and key not in self._left:
            return default
        return self.as_number(self._need(key), key, least=least, most=most)

    def numbers(self, key: str, *, least: int, most: int, at_most: int) -> tuple[int, ...]:
        """A list of integers, () when absent."""
        value = self._left.pop(key, ())
        if not isinstance(value, list | tuple) or len(value) > at_most:
            self.fail(key, value, f"a list of at most {at_most} integers")
        return tuple(self.as_number(v, key, least=least, most=most) for v in value)

    def text(self, key: str, *, of: Collection[str] | None = None) -> str:
        """A string, one of a set when that is given."""
        value = self._need(key)
        if not isinstance(value, str) or (of is not None and value not in of):
            self.fail(key, value, "one of " + ", ".join(of) if of else "a string")
        return value

    def hexes(self, key: str, *, size: int) -> bytes:
        """Bytes written in hex, zeros at the end left out; b"" when absent."""
        value = self._left.pop(key, "")
        try:
            data = bytes.fromhex(value) if isinstance(value, str) else None
        except ValueError:
            data = None
        if data is None or len(data) > size:
            self.fail(key, value, f"at most {size} bytes in hex")
        return data

    def inner(self, key: str) -> Fields:
        """A nested object."""
        value = self._need(key)
        if not isinstance(value, dict):
            self.fail(key, value, "an object")
        return Fields(value, where=self.where)

    def end(self) -> None:
        """Refuse what nobody took.

        Raises:
            RecordingError: a field is left.
        """
        if self._left:
            known = "only fields of the format"
            raise RecordingError(self.where, "field", ", ".join(self._left), known)

    def as_number(self, value: Any, key: str, *, least: int, most: int) -> int:
        """Check one integer."""
        if isinstance(value, str) and value[:2] == "0x" and len(value) <= 18:
            with contextlib.suppress(ValueError):
                value = int(value, 16)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fail(key, value, f"an integer from {least} to {most}")
        return value

    def fail(self, key: str, got: object, expected: str) -> NoReturn:
        """Raise a RecordingError about one field."""
        raise RecordingError(self.where, key, repr(got), expected)

    def _need(self, key: str) -> Any:
        if key not in self._left:
            raise RecordingError(self.where, key, "absent", "present")
        return self._left.pop(key)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> Line:
    line = dict(pairs)
    if len(line) != len(pairs):
        raise ValueError("a key twice in one object")
    return line
