"""Values in case files: sums of numbers and symbols, bytes by description, tensors by table.

A case file never holds a handle or an address: it says "x" for the handle of buffer x, "x.base + 128" for a place.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import HarnessError
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build_base import pack_params
from ggmlrpc_core.graph.tensor import contiguous_nb
from ggmlrpc_core.wire.tensors import TensorRecord

MASK = (1 << 64) - 1
_TERM = re.compile(
    r"\s*([+-])?\s*(2\^\d+|0x[0-9a-fA-F]+|\d+|[A-Za-z_][\w-]*(?:\.(?:base|end|handle))?)"
)


def number(ctx: Context, value: Any) -> int:
    """An int as it is, or the value of text such as "x.base + 8", "2^64 - 1", "-1"; wraps at 64 bits.

    Raises:
        HarnessError: it cannot be read, or names a buffer that the case does not have.
    """
    if isinstance(value, bool | int):
        return int(value)
    total, at, text = 0, 0, str(value)
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise HarnessError(f"value {text!r} cannot be read")
        sign, term = match.groups()
        total += (-1 if sign == "-" else 1) * _term(ctx, term)
        at = match.end()
    return total & MASK if total > MASK else total


def unsigned(ctx: Context, value: Any) -> int:
    """The same, negative numbers as 64-bit ones."""
    return number(ctx, value) & MASK


def _term(ctx: Context, term: str) -> int:
    if term.startswith("2^"):
        return 1 << int(term[2:])
    if term[0].isdigit():
        return int(term, 0)
    if term == "device":
        return ctx.device
    name, _, part = term.partition(".")
    if name not in ctx.buffers:
        raise HarnessError(f"buffer {name!r} is not known in this case")
    memory = ctx.buffers[name]
    return {
        "": memory.handle,
        "handle": memory.handle,
        "base": memory.base,
        "end": memory.base + memory.size,
    }[part]


def data_of(spec: Any) -> bytes:
    """Bytes by description: {hex}, {fill, size}, {ramp = n}, {header = [command,
    length]}, {text}, {f32 = [...]}, {i32 = [...]}, {i64 = [...]}."""
    if isinstance(spec, str):
        return bytes.fromhex(spec)
    if "hex" in spec:
        return bytes.fromhex(spec["hex"])
    if "header" in spec:
        command, size = spec["header"]
        size = (1 << int(size[2:])) if isinstance(size, str) and size.startswith("2^") else size
        return struct.pack("<BQ", command, int(size) & MASK)
    if "text" in spec:
        return str(spec["text"]).encode()
    if "fill" in spec:
        return bytes([spec["fill"]]) * spec["size"]
    if "ramp" in spec:
        n, start = spec["ramp"], spec.get("start", 0)
        return ((np.arange(start, start + n) * 7 + 3) % 251).astype(np.uint8).tobytes()
    for key, dtype in (("f32", "<f4"), ("f16", "<f2"), ("i32", "<i4"), ("i64", "<i8")):
        if key in spec:
            values = [float(v) for v in spec[key]] if key[0] == "f" else spec[key]
            return np.array(values, dtype).tobytes()
    raise HarnessError(f"data {spec!r} cannot be read")


class Described(NamedTuple):
    """A tensor of a case file: its record, and fields that the wire gets whatever the record says."""

    record: TensorRecord
    wire: Mapping[str, Any]


def tensor(
    ctx: Context, spec: Mapping[str, Any], *, ids: Mapping[str, int] | None = None
) -> Described:
    """A tensor by table.

    Keys: in (buffer), at (bytes in it), type, ne, nb, op, function, params, src, flags, view, view_offs, id, name,
    use_count; buffer and data as numbers; wire: fields that replace what was encoded.
    """
    ids = ids or {}
    kind = TYPES[spec.get("type", "I8")]
    memory = ctx.buffers.get(spec.get("in", ""))
    at = spec.get("at", 0)
    default = [memory.size - at if memory and isinstance(at, int) else 1]
    ne = (*(number(ctx, n) for n in spec.get("ne", default)), 1, 1, 1, 1)[:4]
    nb = tuple(spec["nb"]) if "nb" in spec else contiguous_nb(kind, ne)
    op = spec.get("op", "NONE")
    params = {int(slot): value for slot, value in spec.get("params", {}).items()}
    if op == "UNARY":
        params[0] = NEWEST.unary[spec["function"]]
    if op == "GLU":
        params[0] = NEWEST.glu[spec["function"]]
    src = [ids[s] if isinstance(s, str) and s in ids else unsigned(ctx, s) for s in spec.get("src", ())]  # fmt: skip
    view = spec.get("view", 0)
    record = TensorRecord(
        id=unsigned(ctx, spec.get("id", 1)),
        type=kind.id,
        ne=ne,  # type: ignore[arg-type]
        nb=tuple(n & 0xFFFFFFFF for n in nb),  # type: ignore[arg-type]
        buffer=unsigned(ctx, spec["buffer"])
        if "buffer" in spec
        else (memory.handle if memory else 0),
        op=NEWEST.ops[op],
        op_params=pack_params(params),
        flags=spec.get("flags", 16 if op != "NONE" else 0),
        src=tuple((*src, *(0,) * 10)[:10]),
        view_src=ids[view] if isinstance(view, str) else view,
        view_offs=spec.get("view_offs", 0),
        data=unsigned(ctx, spec["data"])
        if "data" in spec
        else (memory.base + number(ctx, at) if memory else 0),
        name=bytes.fromhex(spec["name_hex"]) if "name_hex" in spec else spec.get("name", "").encode(),
        use_count=spec.get("use_count", 0),
    )  # fmt: skip
    wire = {key: _wire_value(ctx, value) for key, value in spec.get("wire", {}).items()}
    return Described(record, wire)


def _wire_value(ctx: Context, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(number(ctx, v) for v in value)
    if isinstance(value, str) and value.endswith(" x"):  # "64 x" fills a field of bytes
        return b"x" * int(value[:-2])
    return number(ctx, value)


def checked(
    ctx: Context, expected: Mapping[str, Any], found: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The first field that is not as a case says, as (expected, found); None when all are.

    Predicates: a number; "nonzero"; ">= n", "<= n", "< n"; "<= field"; "power of two"; "multiple of n"; "any";
    {hex} for bytes.
    """
    for key, rule in expected.items():
        value = found.get(key)
        if value is None:
            raise HarnessError(f"the answer has no field {key}")
        if not _holds(ctx, rule, value, found):
            shown = value.hex(" ") if isinstance(value, bytes) else value
            return f"{key} {rule if not isinstance(rule, int) else f'= {rule}'}", f"{key} = {shown}"
    return None


def _holds(ctx: Context, rule: Any, value: Any, found: Mapping[str, Any]) -> bool:
    if isinstance(value, bytes):
        return value == data_of(rule)
    if isinstance(rule, int):
        return bool(value == rule)
    text = str(rule)
    if text == "any":
        return True
    if text == "nonzero":
        return bool(value != 0)
    if text == "power of two":
        return value > 0 and value & (value - 1) == 0
    if text.startswith("multiple of "):
        return bool(value % max(_other(ctx, text[12:], found), 1) == 0)
    for sign, test in ((">= ", value.__ge__), ("<= ", value.__le__), ("< ", value.__lt__)):
        if text.startswith(sign):
            return bool(test(_other(ctx, text[len(sign) :], found)))
    return bool(value == unsigned(ctx, text))


def _other(ctx: Context, text: str, found: Mapping[str, Any]) -> int:
    return int(found[text]) if text in found else unsigned(ctx, text)


def float_bits(value: float) -> int:
    """An f32 as the int32 of an op_params slot."""
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


def same_floats(got: bytes, want: Sequence[float]) -> bool:
    """Whether F32 bytes hold these numbers to a millionth."""
    found = np.frombuffer(got, "<f4")
    return bool(
        np.allclose(found, np.array(want, np.float32), rtol=1e-6, atol=1e-6, equal_nan=True)
    )
