"""Events of a recording and their lines, for one dialect: requests by field names, answers, ends of connections.

`LineWriter` turns events into lines, `LineReader` lines into events. Between them no byte is lost: a request's payload
that comes back has the bytes that went in, in the virtual handles and addresses of space.py. Everything that a
dialect's schema does not explain is kept as it is. Source of the format: docs/reference/ggrec.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ggmlrpc_core.errors import GgmlRpcError, RecordingError
from ggmlrpc_core.recording.blobs import Container
from ggmlrpc_core.recording.data import MAX_DATA, Data, data_from_line, in_line
from ggmlrpc_core.recording.graphs import (
    MAX_LISTED,
    MAX_TENSORS,
    Graph,
    GraphReader,
    GraphWriter,
    marked,
)
from ggmlrpc_core.recording.lines import Fields, Line, number_out
from ggmlrpc_core.recording.space import MAX_NUMBER, Space, address_in, address_out
from ggmlrpc_core.recording.tensors import TensorLines
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import Dialect, WireCommand
from ggmlrpc_core.wire.layout import Field, Layout

MAX_CONNECTIONS = 1 << 20

MAX_KNOWN = 1 << 16
"""Tensors outside graphs that lines may name by number alone."""

CLOSED_BY = ("client", "server", "recorder")
HANDLES = frozenset({"remote_ptr"})
ADDRESSES = frozenset({"base_ptr"})


@dataclass(frozen=True, slots=True)
class Open:
    """A client connected.

    Attributes:
        conn: number of the connection, from 1.
        server: which of the recorded servers, from 1.
    """

    conn: int
    server: int = 1


@dataclass(frozen=True, slots=True)
class Message:
    """A request and what was answered.

    Attributes:
        conn: number of the connection.
        command: name.
        payload: bytes of the request, without those of `data`.
        data: what a SET_TENSOR carries.
        length: payload length that was declared, where the client ended before it had sent as many.
        reply: payload of the answer; None where there was none. b"" for GET_TENSOR.
        answer: data that GET_TENSOR answered, None when it is not expected to be anything.
        tolerance: how `answer` is compared: "exact", "computed" or an object; see compare.py.
        known: data that a SET_TENSOR_HASH asks for, where the recording has them.
    """

    conn: int
    command: str
    payload: bytes
    data: Data | None = None
    length: int | None = None
    reply: bytes | None = None
    answer: Data | None = None
    tolerance: Any = "exact"
    known: Data | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes from the client that are no message of the dialect."""

    conn: int
    data: Data


@dataclass(frozen=True, slots=True)
class Close:
    """A connection ended.

    Attributes:
        conn: number of the connection.
        by: who closed: "client", "server", or "recorder" when the recording was stopped first.
    """

    conn: int
    by: str


Event = Open | Message | Raw | Close


class _Lines:
    """What writer and reader share: the layouts of a dialect and the state that lines build on."""

    def __init__(self, dialect: Dialect, tensors: TensorLines) -> None:
        self.dialect, self.tensors = dialect, tensors
        self.space: Space = tensors.space
        self._last: OrderedDict[int, bytes] = OrderedDict()

    def sent(self, number: int) -> bytes | None:
        """The tensor of a number as it was sent last; None when it is none of the last MAX_KNOWN."""
        return self._last.get(number)

    def note(self, number: int, tensor: bytes) -> None:
        """A tensor was written in full."""
        self._last[number] = tensor
        self._last.move_to_end(number)
        if len(self._last) > MAX_KNOWN:
            self._last.popitem(last=False)

    def allocated(self, command: str, reply: bytes | None) -> None:
        """Note a new buffer from the answer of an ALLOC_BUFFER."""
        layout = self.dialect.by_name["ALLOC_BUFFER"].reply
        assert layout is not None
        if command == "ALLOC_BUFFER" and reply is not None and len(reply) == layout.size:
            fields = layout.unpack(reply)
            if fields["remote_ptr"] == len(self.space) + 1:
                self.space.add(fields["remote_size"])


class LineWriter(_Lines):
    """Writes events of one recording in order.

    Args:
        dialect: of the recording.
        tensors: writes its tensors.
        store: keeps bytes that no line can hold.
    """

    def __init__(
        self, dialect: Dialect, tensors: TensorLines, *, store: Callable[[bytes], Data] = in_line
    ) -> None:
        super().__init__(dialect, tensors)
        self._graphs = GraphWriter()
        self._store = store

    def lines(self, event: Event) -> list[Line]:
        """The lines of one event; a graph that was not seen comes before its message."""
        if isinstance(event, Open):
            line: Line = {"c": event.conn, "open": event.server}
        elif isinstance(event, Close):
            line = {"c": event.conn, "close": event.by}
        elif isinstance(event, Raw):
            line = {"c": event.conn, "raw": event.data.to_line()}
        else:
            return self._message(event)
        return [line]

    def _message(self, m: Message) -> list[Line]:
        wire = self.dialect.by_name[m.command]
        line: Line = {"c": m.conn, "cmd": m.command}
        before: list[Line] = []
        if wire.counted and (graph := self._graph(wire, m.payload)) is not None:
            fields, lines = graph
            before, number = self._graphs.write(lines)
            line |= {**fields, "graph": number}
        elif not wire.counted and len(m.payload) == wire.request.size:
            self._fields(line, wire.request, m.payload)
        else:
            line["payload"] = self._store(m.payload).to_line()
        if m.data is not None:
            line["data"] = m.data.to_line()
        if m.known is not None:
            line["of"] = m.known.to_line()
        if m.length is not None:
            line["length"] = number_out(m.length)
        if m.reply is not None:
            self.allocated(m.command, m.reply)
            line["rsp"] = self._reply(wire, m.reply)
        if m.answer is not None:
            line["expect"] = m.answer.to_line()
            if m.tolerance != "exact":
                line["tol"] = m.tolerance
        return [*before, line]

    def _graph(self, wire: WireCommand, payload: bytes) -> tuple[Line, Graph] | None:
        """Fields and lines of a graph; None when the payload is not exactly one."""
        try:
            graph = codec.decode_graph(self.dialect, wire, payload)
        except GgmlRpcError:
            return None
        layout = self.dialect.tensor
        rows = graph["tensors"]
        whole = wire.request.size + 8 * len(graph["nodes"]) + 4 + rows.nbytes
        if whole != len(payload) or len(rows) > MAX_TENSORS:
            return None
        start = len(payload) - rows.nbytes
        unpacked = [layout.unpack(payload, start + i * layout.size) for i in range(len(rows))]
        numbers = [self.tensors.pointers.number(int(n)) for n in graph["nodes"]]
        lines = marked([self.tensors.to_line(t) for t in unpacked], numbers)
        if lines.nodes is not None and len(lines.nodes) > MAX_LISTED:
            return None
        return (
            {"device": graph["device"]} if wire.request.fields[0].name == "device" else {}
        ), lines

    def _fields(self, line: Line, layout: Layout, payload: bytes) -> None:
        values = layout.unpack(payload)
        sizes = field_spans(layout)
        for field in layout.fields:
            value = values[field.name]
            if field.inner and field.scalar:
                line[field.name] = self._tensor(value, payload, sizes[field.name])
            elif field.inner:
                start, size = sizes[field.name]
                line[field.name] = [
                    None
                    if not payload[start + i * size : start + (i + 1) * size].strip(b"\0")
                    else self._tensor(one, payload, (start + i * size, size))
                    for i, one in enumerate(value)
                ]
                while line[field.name] and line[field.name][-1] is None:
                    line[field.name].pop()
            elif field.name in HANDLES:
                line["buf"] = self.tensors.handle_out(value)
            elif isinstance(value, bytes):
                line[field.name] = value.rstrip(b"\0").hex()
            else:
                line[field.name] = number_out(value)

    def _tensor(self, values: Mapping[str, Any], payload: bytes, span: tuple[int, int]) -> Any:
        """A tensor's line, or its number alone when it is as it was."""
        sent = payload[span[0] : span[0] + span[1]]
        number = self.tensors.pointers.number(values["id"])
        if number and self.sent(number) == sent:
            return number
        self.note(number, sent)
        return self.tensors.to_line(values)

    def _reply(self, wire: WireCommand, reply: bytes) -> Line:
        if wire.reply is None or wire.reply_body or len(reply) != wire.reply.size:
            return {"data": self._store(reply).to_line()} if reply else {}
        line: Line = {}
        for name, value in wire.reply.unpack(reply).items():
            if name in HANDLES:
                line["buf"] = self.tensors.handle_out(value)
            elif name in ADDRESSES:
                line[name] = (
                    address_out(self.space, self.tensors.pointers, value, 0) if value else 0
                )
            elif isinstance(value, bytes):
                line[name] = value.rstrip(b"\0").hex()
            else:
                line[name] = number_out(value)
        return line


class LineReader(_Lines):
    """Reads lines of one recording in order.

    Args:
        dialect: of the recording.
        tensors: reads its tensors.
        container: where its blobs are.
    """

    def __init__(
        self, dialect: Dialect, tensors: TensorLines, *, container: Container | None = None
    ) -> None:
        super().__init__(dialect, tensors)
        self._graphs = GraphReader()
        self._container = container
        self._open: set[int] = set()

    @property
    def inside_graph(self) -> bool:
        """Whether the next line belongs to a graph."""
        return self._graphs.inside

    def event(self, line: Mapping[str, Any], *, where: str) -> Event | None:
        """The event of a line; None for a line of a graph.

        Raises:
            RecordingError: it is not of the format, or names what is not there.
        """
        if self._graphs.inside:
            self._graphs.add(line, where=where)
            return None
        if "graph" in line and "c" not in line:
            self._graphs.begin(line, where=where)
            return None
        fields = Fields(line, where=where)
        conn = fields.number("c", least=1, most=MAX_CONNECTIONS)
        event: Event
        if "open" in fields:
            event = Open(conn, fields.number("open", least=1, most=99))
            if conn in self._open:
                fields.fail("open", conn, "a connection that is not open")
            self._open.add(conn)
        else:
            if conn not in self._open:
                fields.fail("c", conn, "a connection that is open")
            event = self._of_open(conn, fields)
        fields.end()
        return event

    def _of_open(self, conn: int, fields: Fields) -> Event:
        if "close" in fields:
            self._open.discard(conn)
            return Close(conn, fields.text("close", of=CLOSED_BY))
        if "raw" in fields:
            return Raw(conn, data_from_line(fields.inner("raw")))
        return self._message(conn, fields)

    def _message(self, conn: int, fields: Fields) -> Message:
        command = fields.text("cmd", of=self.dialect.by_name)
        wire = self.dialect.by_name[command]
        if "payload" in fields:
            payload = data_from_line(fields.inner("payload")).whole(self._container)
        elif wire.counted:
            payload = self._graph(wire, fields)
        else:
            payload = self._pack(wire.request, fields)
        data = data_from_line(fields.inner("data")) if "data" in fields else None
        known = data_from_line(fields.inner("of")) if "of" in fields else None
        length = fields.number("length", most=MAX_DATA) if "length" in fields else None
        reply = self._reply(wire, fields.inner("rsp")) if "rsp" in fields else None
        self.allocated(command, reply)
        answer = data_from_line(fields.inner("expect")) if "expect" in fields else None
        tolerance = fields.take("tol", "exact")
        return Message(conn, command, payload, data, length, reply, answer, tolerance, known)

    def _graph(self, wire: WireCommand, fields: Fields) -> bytes:
        device = fields.number("device", most=(1 << 32) - 1, default=0)
        graph = self._graphs.graph(fields.number("graph"), where=fields.where)
        layout, pointer = self.dialect.tensor, self.tensors.pointers.pointer
        packed = bytearray()
        for tensor in graph.tensors:
            plain = {key: value for key, value in tensor.items() if key != "node"}
            packed += self._packed(
                layout, self.tensors.from_line(Fields(plain, where=fields.where)), fields
            )
        rows = np.frombuffer(packed, codec.tensor_dtype(self.dialect))
        for number in (ids := graph.node_ids()):
            fields.as_number(number, "nodes", least=0, most=MAX_NUMBER)
        nodes = np.array([pointer(number) for number in ids], np.uint64)
        values = {"device": device, "nodes": nodes, "tensors": rows}
        return codec.encode_request(self.dialect, wire, values)

    def _pack(self, layout: Layout, fields: Fields) -> bytes:
        values: dict[str, Any] = {}
        for field in layout.fields:
            if field.inner and field.scalar:
                values[field.name] = self._tensor(fields.take(field.name), fields)
            elif field.inner:
                listed = fields.take(field.name)
                if not isinstance(listed, list) or len(listed) > field.count:
                    fields.fail(field.name, listed, f"a list of at most {field.count} tensors")
                absent = self.dialect.tensor.unpack(bytes(self.dialect.tensor.size))
                listed = listed + [None] * (field.count - len(listed))
                values[field.name] = [
                    absent if one is None else self._tensor(one, fields) for one in listed
                ]
            elif field.name in HANDLES:
                values[field.name] = self.tensors.handle_in(fields)
            else:
                values[field.name] = plain_in(field, fields)
        return self._packed(layout, values, fields)

    def _tensor(self, value: Any, fields: Fields) -> dict[str, Any]:
        layout = self.dialect.tensor
        if isinstance(value, int) and not isinstance(value, bool):
            sent = self.sent(value)
            if sent is None:
                fields.fail("tensor", value, "a tensor that came before")
            return layout.unpack(sent)
        if not isinstance(value, Mapping):
            fields.fail("tensor", value, "a tensor, or the number of one")
        tensor = self.tensors.from_line(Fields(value, where=fields.where))
        number = self.tensors.pointers.number(tensor["id"])
        self.note(number, self._packed(layout, tensor, fields))
        return tensor

    @staticmethod
    def _packed(layout: Layout, values: Mapping[str, Any], fields: Fields) -> bytes:
        try:
            return layout.pack(values)
        except Exception as exc:  # struct.error, whatever field it is about
            raise RecordingError(fields.where, "fields", exc, "values of the schema") from exc

    def _reply(self, wire: WireCommand, fields: Fields) -> bytes:
        if "data" in fields:
            reply = data_from_line(fields.inner("data")).whole(self._container)
        elif wire.reply is None or wire.reply_body or not wire.reply.fields:
            reply = b""
        else:
            reply = self._packed(wire.reply, self._reply_values(wire.reply, fields), fields)
        fields.end()
        return reply

    def _reply_values(self, layout: Layout, fields: Fields) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field in layout.fields:
            if field.name in HANDLES:
                values[field.name] = self._new_handle(fields)
            elif field.name in ADDRESSES:
                at = fields.take(field.name)
                values[field.name] = (
                    0 if at == 0 else address_in(self.space, self.tensors.pointers, at, 0, fields)
                )
            else:
                values[field.name] = plain_in(field, fields)
        return values

    def _new_handle(self, fields: Fields) -> int:
        """The handle in the answer of an ALLOC_BUFFER: the next one."""
        value = fields.take("buf")
        if isinstance(value, Mapping) or value == 0:
            return self.tensors.handle_in(Fields({"buf": value}, where=fields.where))
        return fields.as_number(value, "buf", least=len(self.space) + 1, most=len(self.space) + 1)


def plain_in(field: Field, fields: Fields) -> Any:
    """An integer or bytes of a schema."""
    if field.code == "s":
        return fields.hexes(field.name, size=field.count).ljust(field.count, b"\0")
    bits = {"B": 8, "I": 32, "i": 32, "Q": 64}[field.code]
    return fields.number(field.name, most=(1 << bits) - 1)


@cache
def field_spans(layout: Layout) -> dict[str, tuple[int, int]]:
    """Offset and size of one element of each field of a fixed layout."""
    return {name: (offset, size) for name, offset, size, _ in spans(layout)}


@cache
def spans(layout: Layout) -> list[tuple[str, int, int, int]]:
    """(name, offset, bytes of one element, elements) of each field of a fixed layout."""
    found, at = [], 0
    for field in layout.fields:
        size = _size(field)
        count = 1 if field.scalar else field.count
        found.append((field.name, at, size, count))
        at += size * count
    return found


def _size(field: Field) -> int:
    """Bytes of one element."""
    if field.inner:
        return sum(_size(f) * (1 if f.scalar else f.count) for f in field.inner)
    if field.code == "s":
        return field.count
    return {"B": 1, "I": 4, "i": 4, "Q": 8}[field.code]
