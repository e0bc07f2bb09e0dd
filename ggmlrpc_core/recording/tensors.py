"""One rpc_tensor and its line: names for numbers, defaults left out, every byte kept.

    {"id":4,"type":"Q4_0","ne":[256,128],"buf":1,"at":131072,"name":"blk.0.attn_v.weight"}

Numbers are those of the recording's dialect and get their names from its numbering; what has no name stays a number.
Source of the format: docs/reference/ggrec.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from ggmlrpc_core.ggml.types import FORK_TYPES, TYPES
from ggmlrpc_core.graph.tensor import contiguous_nb
from ggmlrpc_core.recording.lines import Fields, Line, number_out
from ggmlrpc_core.recording.space import (
    MAX_NUMBER,
    MadeUp,
    Pointers,
    Space,
    address_in,
    address_out,
)
from ggmlrpc_core.wire.dialects import Dialect

U32 = (1 << 32) - 1
I32 = 1 << 31

_FUNCTIONS = ("UNARY", "GLU")
_ENDPOINT = re.compile(rb"\[([^\[\]#$]{1,64}:\d{1,5}|unix:[^\[\]#$]{1,64})\]")
_SYMBOL = re.compile(rb"\[\$(\d{1,3})\]")


class Endpoints(Protocol):
    """The servers' endpoints as a client writes them in names of tensors, `RPC0[127.0.0.1:50052]#embd#0`."""

    def number(self, text: str) -> int:
        """Which server an endpoint is, from 1; 0 when it is none of the recording's."""

    def text(self, number: int) -> str:
        """The endpoint of a server."""


class NoEndpoints:
    """Names as they are in the lines."""

    def number(self, text: str) -> int:
        """None is known."""
        return 0

    def text(self, number: int) -> str:
        """The symbol itself."""
        return f"${number}"


class TensorLines:
    """Writes and reads tensors of one dialect.

    Args:
        dialect: of the recording.
        space: its buffers.
        pointers: the client's pointers.
        endpoints: in names.
    """

    def __init__(
        self,
        dialect: Dialect,
        space: Space,
        *,
        pointers: Pointers | MadeUp,
        endpoints: Endpoints | None = None,
    ) -> None:
        self.dialect, self.space, self.pointers = dialect, space, pointers
        self._endpoints = endpoints or NoEndpoints()
        n = dialect.numbering
        self._types, self._ops = _inverse(n.types), _inverse(n.ops)
        self._functions = {"UNARY": _inverse(n.unary), "GLU": _inverse(n.glu)}
        self._numbers: dict[str, Mapping[str, int]] = {"UNARY": n.unary, "GLU": n.glu}
        sizes = {**TYPES, **FORK_TYPES}
        self._sizes = {n.types[name]: sizes[name] for name in n.types if name in sizes}
        self._extra = [
            (f.name, f.count) for f in dialect.tensor.fields if f.name in ("gap", "padding")
        ]
        self._has_uses = any(f.name == "use_count" for f in dialect.tensor.fields)

    def to_line(self, t: Mapping[str, Any]) -> Line:
        """The line of the unpacked fields of a tensor."""
        buffer = t["buffer"]
        line: Line = {"id": self.pointers.number(t["id"])}
        line["type"] = self._types.get(t["type"], t["type"])
        line["ne"] = _trimmed(t["ne"], 1) or [1]
        if tuple(t["nb"]) != self._default_nb(t["type"], t["ne"]):
            line["nb"] = list(t["nb"])
        if buffer:
            line["buf"] = buffer if self.space.has(buffer) else self._pointer(buffer)
        if t["data"]:
            line["at"] = address_out(self.space, self.pointers, t["data"], buffer)
        params = list(t["op_params"])
        if t["op"]:
            op = self._ops.get(t["op"], t["op"])
            functions = self._functions.get(op, {}) if isinstance(op, str) else {}
            if params[0] in functions:
                op = f"{op}/{functions[params[0]]}"
                params[0] = 0
            line["op"] = op
        if params := _trimmed(params, 0):
            line["params"] = params
        if t["flags"]:
            line["flags"] = t["flags"]
        if src := _trimmed(t["src"], 0):
            line["src"] = [self.pointers.number(s) for s in src]
        if t["view_src"]:
            line["view"] = self.pointers.number(t["view_src"])
        if t["view_offs"]:
            line["view_offs"] = number_out(t["view_offs"])
        self._name_out(line, t["name"])
        if t.get("use_count"):
            line["uses"] = t["use_count"]
        for name, _ in self._extra:
            if rest := t[name].rstrip(b"\0"):
                line[name] = rest.hex()
        return line

    def from_line(self, fields: Fields) -> dict[str, Any]:
        """The fields of a tensor, ready to pack; raises RecordingError where a line is not of the format."""
        kind = self._named(fields, "type", self.dialect.numbering.types)
        ne = self._full(fields.numbers("ne", least=0, most=U32, at_most=4), 4, 1)
        nb = fields.numbers("nb", least=0, most=U32, at_most=4) or self._default_nb(kind, ne)
        if nb is None or len(nb) != 4:
            fields.fail("nb", nb, "four strides, for a type without a known size")
        buffer = self._buffer_in(fields)
        at = fields.take("at")
        op, function = self._op_in(fields)
        params = self._full(fields.numbers("params", least=-I32, most=I32 - 1, at_most=16), 16, 0)
        if function is not None:
            params = (function, *params[1:])
        number = fields.number("id", most=MAX_NUMBER)
        max_src = self.dialect.max_src
        src = fields.numbers("src", least=0, most=MAX_NUMBER, at_most=max_src)
        tensor = {
            "id": self.pointers.pointer(number),
            "type": kind,
            "buffer": buffer,
            "ne": ne,
            "nb": nb,
            "op": op,
            "op_params": params,
            "flags": fields.number("flags", least=-I32, most=I32 - 1, default=0),
            "src": self._full(tuple(map(self.pointers.pointer, src)), max_src, 0),
            "view_src": self.pointers.pointer(fields.number("view", most=MAX_NUMBER, default=0)),
            "view_offs": fields.number("view_offs", default=0),
            "data": 0 if at is None else address_in(self.space, self.pointers, at, buffer, fields),
            "name": self._name_in(fields),
        }
        for name, size in self._extra:
            tensor[name] = fields.hexes(name, size=size).ljust(size, b"\0")
        if self._has_uses:
            tensor["use_count"] = fields.number("uses", least=-I32, most=I32 - 1, default=0)
        fields.end()
        return tensor

    def handle_out(self, handle: int) -> Any:
        """How a buffer's handle is written."""
        return handle if handle == 0 or self.space.has(handle) else self._pointer(handle)

    def handle_in(self, fields: Fields, key: str = "buf") -> int:
        """Read what handle_out() wrote."""
        return self._buffer_in(fields, key)

    # --- inside

    def _pointer(self, value: int) -> Line:
        return {"ptr": self.pointers.number(value)}

    def _buffer_in(self, fields: Fields, key: str = "buf") -> int:
        value = fields.take(key)
        if value is None:
            return 0
        if isinstance(value, Mapping):
            inner = Fields(value, where=fields.where)
            number = inner.number("ptr", least=1, most=MAX_NUMBER)
            inner.end()
            return int(self.pointers.pointer(number))
        handle = fields.as_number(value, key, least=0, most=MAX_NUMBER)
        if handle and not self.space.has(handle):
            fields.fail(key, handle, "a buffer that the recording allocated before")
        return handle

    def _default_nb(self, kind: int, ne: Any) -> tuple[int, ...] | None:
        sizes = self._sizes.get(kind)
        return None if sizes is None else tuple(b & U32 for b in contiguous_nb(sizes, ne))

    @staticmethod
    def _full(values: tuple[int, ...], n: int, default: int) -> tuple[int, ...]:
        return values + (default,) * (n - len(values))

    def _named(self, fields: Fields, key: str, numbers: Mapping[str, int]) -> int:
        value = fields.take(key)
        if isinstance(value, str) and value in numbers:
            return numbers[value]
        if isinstance(value, str):
            fields.fail(key, value, f"a {key} of protocol {self.dialect.name}")
        return fields.as_number(value, key, least=0, most=U32)

    def _op_in(self, fields: Fields) -> tuple[int, int | None]:
        """Numbers of the op and of its function, None where it has none."""
        if "op" not in fields:
            return 0, None
        value = fields.take("op")
        if not isinstance(value, str):
            return fields.as_number(value, "op", least=0, most=U32), None
        op, _, function = value.partition("/")
        known = self._numbers.get(op, {})
        ops = self.dialect.numbering.ops
        if op not in ops or (function and function not in known):
            fields.fail("op", value, f"an op of protocol {self.dialect.name}")
        return ops[op], known[function] if function else None

    def _name_out(self, line: Line, field: bytes) -> None:
        head, _, tail = field.partition(b"\0")
        symbolic = _ENDPOINT.sub(self._symbol_of, head)
        try:
            text = symbolic.decode()
        except UnicodeDecodeError:
            text = ""
        if _SYMBOL.search(head) or self._name_bytes(text, b"") != head.ljust(len(field), b"\0"):
            if field.rstrip(b"\0"):
                line["name_hex"] = field.rstrip(b"\0").hex()
            return
        if text:
            line["name"] = text
        if tail := tail.rstrip(b"\0"):
            line["tail"] = tail.hex()

    def _name_in(self, fields: Fields) -> bytes:
        size = self.dialect.max_name
        if "name_hex" in fields:
            return fields.hexes("name_hex", size=size).ljust(size, b"\0")
        text = fields.text("name") if "name" in fields else ""
        return self._name_bytes(text, fields.hexes("tail", size=size))

    def _name_bytes(self, text: str, tail: bytes) -> bytes:
        size = self.dialect.max_name
        head = _SYMBOL.sub(self._endpoint_of, text.encode("utf-8", "replace"))[: size - 1]
        return (head + b"\0" + tail).ljust(size, b"\0")[:size]

    def _symbol_of(self, match: re.Match[bytes]) -> bytes:
        number = self._endpoints.number(match[1].decode("utf-8", "replace"))
        return b"[$%d]" % number if number else match[0]

    def _endpoint_of(self, match: re.Match[bytes]) -> bytes:
        return f"[{self._endpoints.text(int(match[1]))}]".encode()


def _inverse(numbers: Mapping[str, int]) -> dict[int, str]:
    return {number: name for name, number in numbers.items()}


def _trimmed(values: Any, default: int) -> list[int]:
    """A list without the defaults at its end."""
    found = list(values)
    while found and found[-1] == default:
        found.pop()
    return found
