"""Fast readers and writers derived from the construct schema.

A schema is flattened at one dialect's parameters into fields with offsets. From these come a `struct.Struct` for
messages of fixed size and a NumPy dtype for arrays of tensors. Both read the same bytes as construct; a test proves it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import construct as c
import numpy as np

from ggmlrpc_core.wire.fields import Versioned

_INTEGERS: dict[str, tuple[str, str]] = {  # construct's format code -> (struct code, NumPy dtype)
    "<B": ("B", "u1"),
    "<L": ("I", "<u4"),
    "<l": ("i", "<i4"),
    "<Q": ("Q", "<u8"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a flattened schema.

    Attributes:
        name: in its Struct.
        code: struct code of one element, "s" for bytes, "" for a nested Struct.
        count: elements (bytes for "s"); 1 for a scalar.
        scalar: read as a value, not as a tuple.
        inner: fields of a nested Struct.
    """

    name: str
    code: str
    count: int
    scalar: bool
    inner: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Params:
    """What a field's presence and length depend on; see fields.py."""

    version: Any
    max_src: int
    max_name: int

    def as_dict(self) -> dict[str, Any]:
        """Keyword arguments for construct's parse, build and sizeof."""
        return {"version": self.version, "max_src": self.max_src, "max_name": self.max_name}


def _evaluate(value: Any, params: Params) -> Any:
    return value({"_params": params.as_dict()}) if callable(value) else value


def flatten(schema: c.Struct, params: Params) -> tuple[tuple[Field, ...], bool]:
    """The fields up to the first one whose length is not fixed by the dialect.

    Returns:
        (fields, complete): complete is False when a field of variable length follows.
    """
    fields: list[Field] = []
    for subcon in schema.subcons:
        name, core = subcon.name, subcon.subcon
        while isinstance(core, Versioned):
            if not core.exists(params.version):
                break
            core = core.subcon
        else:
            field = _field(name, core, params)
            if field is None:
                return tuple(fields), False
            fields.append(field)
    return tuple(fields), True


def _field(name: str, core: Any, params: Params) -> Field | None:
    if isinstance(core, c.FormatField):
        return Field(name, _INTEGERS[core.fmtstr][0], 1, True)
    if isinstance(core, c.Bytes):
        return Field(name, "s", _evaluate(core.length, params), True)
    if isinstance(core, c.Struct):
        inner, complete = flatten(core, params)
        return Field(name, "", 1, True, inner) if complete else None
    if isinstance(core, c.Array):
        try:
            count = int(_evaluate(core.count, params))
        except (KeyError, AttributeError):  # the count is a field of the message
            return None
        element = _field(name, core.subcon, params)
        assert element is not None
        return Field(name, element.code, count, False, element.inner)
    return None  # GreedyBytes


def format_of(fields: tuple[Field, ...]) -> str:
    """The struct format of fields, without the byte order mark."""
    return "".join(
        format_of(f.inner) * f.count
        if f.inner
        else f"{f.count if not f.scalar or f.code == 's' else ''}{f.code}"
        for f in fields
    )


def dtype_of(fields: tuple[Field, ...]) -> np.dtype:
    """A packed structured dtype of fields; bytes become S fields."""
    spec: list[tuple[Any, ...]] = []
    for f in fields:
        if f.code == "s":
            spec.append((f.name, f"S{f.count}"))
        else:
            base = (
                dtype_of(f.inner)
                if f.inner
                else np.dtype({"B": "u1", "I": "<u4", "i": "<i4", "Q": "<u8"}[f.code])
            )
            spec.append((f.name, base) if f.scalar else (f.name, base, (f.count,)))
    return np.dtype(spec)


class Layout:
    """Reader and writer of the fixed part of one message in one dialect.

    Attributes:
        size: bytes of the fixed part.
        complete: nothing of variable length follows.
        fields: flattened.
    """

    __slots__ = ("_plan", "_read", "_struct", "complete", "fields", "size")

    def __init__(self, schema: c.Struct, params: Params) -> None:
        self.fields, self.complete = flatten(schema, params)
        self._struct = struct.Struct("<" + format_of(self.fields))
        self.size = self._struct.size
        self._plan = _plan(self.fields)
        self._read = _Reader(self.fields)

    def unpack(self, data: Any, offset: int = 0) -> dict[str, Any]:
        """Read the fixed part: integers, tuples, bytes, dicts of nested structs."""
        return self._read(self._struct.unpack_from(data, offset))

    def pack(self, values: Mapping[str, Any]) -> bytes:
        """Write the fixed part.

        Raises:
            KeyError: a field is missing.
            struct.error: a value does not fit its field.
        """
        flat: list[Any] = []
        _scatter(self._plan, values, flat)
        return self._struct.pack(*flat)


_Plan = tuple[tuple[str, int, bool, Any], ...]


class _Reader:
    """Turns the flat tuple of a struct into a dict, with as few steps of Python as there can be."""

    __slots__ = ("_get", "_names", "_nested", "end")

    def __init__(self, fields: tuple[Field, ...], at: int = 0) -> None:
        self.end: int  # first place after the fields
        names: list[str] = []
        places: list[int | slice] = []
        self._nested: list[tuple[str, bool, list[_Reader]]] = []
        for f in fields:
            if f.inner:
                readers = []
                for _ in range(f.count):
                    readers.append(_Reader(f.inner, at))
                    at = readers[-1].end
                self._nested.append((f.name, f.scalar, readers))
                continue
            count = 1 if f.scalar else f.count
            names.append(f.name)
            places.append(at if f.scalar else slice(at, at + count))
            at += count
        self._names = tuple(names)
        self._get = _getter(places)
        self.end = at

    def __call__(self, flat: tuple[Any, ...]) -> dict[str, Any]:
        values = dict(zip(self._names, self._get(flat)))
        for name, scalar, readers in self._nested:
            values[name] = readers[0](flat) if scalar else [read(flat) for read in readers]
        return values


def _getter(places: list[int | slice]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function that takes the items and slices of a tuple at these places."""
    if not places:
        return lambda flat: ()
    if len(places) == 1:
        get_one = itemgetter(places[0])
        return lambda flat: (get_one(flat),)
    return itemgetter(*places)


def _plan(fields: tuple[Field, ...]) -> _Plan:
    """(name, values put in the flat tuple, scalar, inner plan) for each field."""
    return tuple(
        (f.name, f.count if not f.scalar else 1, f.scalar, _plan(f.inner) if f.inner else None)
        for f in fields
    )


def _scatter(plan: _Plan, values: Mapping[str, Any], flat: list[Any]) -> None:
    for name, count, scalar, inner in plan:
        value = values[name]
        if inner is not None:
            for item in [value] if scalar else value:
                _scatter(inner, item, flat)
        elif scalar:
            flat.append(value)
        else:
            if len(value) != count:
                raise struct.error(f"{name} has {len(value)} elements, expected {count}")
            flat.extend(value)
