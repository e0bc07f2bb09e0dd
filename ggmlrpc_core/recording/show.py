"""Lines of a recording for people: what each message is about, on one line. Knows no socket."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ggmlrpc_core.errors import GgmlRpcError, clip
from ggmlrpc_core.recording.compare import VALUE_SIZES, values
from ggmlrpc_core.recording.data import MAX_UNPACKED, Data
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.messages import Close, Event, Message, Open, Raw
from ggmlrpc_core.recording.space import Space
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import TensorRecord, decode_name

_INTEGERS = {"I32": "<i4", "I64": "<i8", "I16": "<i2", "I8": "i1"}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are shown; what is empty lets everything through.

    Attributes:
        commands: names.
        connections: numbers.
        tensor: part of a tensor's name.
        graphs: show the nodes of graphs too.
        n_values: so many values of data.
    """

    commands: frozenset[str] = frozenset()
    connections: frozenset[int] = frozenset()
    tensor: str = ""
    graphs: bool = False
    n_values: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """One message for people and for programs.

    Attributes:
        line: in the recording.
        text: one line, or several with the nodes of a graph.
        fields: the same as plain values.
    """

    line: int
    text: str
    fields: dict[str, Any]


def shown(recording: Recording, wanted: Filter) -> Iterator[Shown]:
    """What a filter lets through, in order.

    Raises:
        RecordingError: the recording breaks its format.
    """
    reader = recording.reader()
    show = _Show(recording, reader.space, wanted)
    for number, _, event in recording.events(reader):
        if event is None or (wanted.connections and event.conn not in wanted.connections):
            continue
        found = show.event(number, event)
        if found is not None:
            yield found


class _Show:
    def __init__(self, recording: Recording, space: Space, wanted: Filter) -> None:
        self._recording, self._space, self._wanted = recording, space, wanted
        self._dialect: Dialect = recording.head.dialect

    def event(self, number: int, event: Event) -> Shown | None:
        if isinstance(event, Message):
            return self._message(number, event)
        if self._wanted.commands or self._wanted.tensor:
            return None
        if isinstance(event, Open):
            what, rest = "open", dict[str, Any](server=event.server)
            words = f"to server {event.server}"
        elif isinstance(event, Close):
            what, rest = "close", {"by": event.by}
            words = f"by the {event.by}"
        else:
            assert isinstance(event, Raw)
            what, rest = "raw", {"size": event.data.n}
            words = f"{event.data.n} bytes that are no message"
        fields = {"line": number, "connection": event.conn, "event": what, **rest}
        return Shown(number, f"{number:6} c{event.conn:<3} {what:18} {words}", fields)

    def _message(self, number: int, m: Message) -> Shown | None:
        if self._wanted.commands and m.command not in self._wanted.commands:
            return None
        wire = self._dialect.by_name[m.command]
        fields: dict[str, Any] = {"line": number, "connection": m.conn, "command": m.command}
        nodes: list[str] = []
        if wire.counted:
            words = self._graph(m, fields, nodes)
        elif len(m.payload) == wire.request.size:
            words = self._head(m, codec.decode_head(self._dialect, wire, m.payload), fields)
        else:
            words = f"{len(m.payload)} bytes that the schema does not explain"
        if self._wanted.tensor and self._wanted.tensor not in " ".join([words, *nodes]):
            return None
        parts = [words] if words else []
        parts += [self._data(name, data, m, fields) for name, data in _pieces(m)]
        if m.length is not None:
            parts.append(f"cut: {m.length} bytes were announced")
        if wire.reply is not None and not wire.reply_body and wire.reply.fields:
            parts.append("-> " + self._reply(m, fields))
        elif wire.reply is not None and m.reply is None:
            parts.append("-> no answer")
        text = f"{number:6} c{m.conn:<3} {m.command:18} {', '.join(parts)}"
        return Shown(number, "\n".join([text, *nodes]) if self._wanted.graphs else text, fields)

    def _graph(self, m: Message, fields: dict[str, Any], nodes: list[str]) -> str:
        wire = self._dialect.by_name[m.command]
        try:
            graph = codec.decode_graph(self._dialect, wire, m.payload)
        except (GgmlRpcError, struct.error) as exc:  # kept as it was sent
            return clip(exc)
        rows = {int(row["id"]): row for row in graph["tensors"]}
        names = self._dialect.numbering.ops.items()
        ops = {number: name for name, number in names}
        for number in graph["nodes"].tolist():
            if (row := rows.get(number)) is None:
                nodes.append(f"{'':13}node {number} is not among the tensors")
                continue
            sources = ", ".join(
                clip(decode_name(bytes(rows[s]["name"]))) or "?"
                for s in row["src"].tolist()
                if s in rows
            )
            name = clip(decode_name(bytes(row["name"])))
            op = ops.get(int(row["op"]), int(row["op"]))
            nodes.append(
                f"{'':13}{op} {name} {_shape(row['ne'].tolist())} of {sources or 'nothing'}"
            )
        fields |= {"nodes": len(graph["nodes"]), "tensors": len(rows), "device": graph["device"]}
        if self._wanted.graphs:
            fields["graph"] = [line.strip() for line in nodes]
        return f"{len(graph['nodes'])} nodes, {len(rows)} tensors, device {graph['device']}"

    def _head(self, m: Message, head: Mapping[str, Any], fields: dict[str, Any]) -> str:
        words: list[str] = []
        for name, value in sorted(
            head.items(), key=lambda one: not isinstance(one[1], TensorRecord)
        ):
            if isinstance(value, TensorRecord):
                words.append(self._tensor(value))
                fields[name] = words[-1]
            elif isinstance(value, list):
                listed = [self._tensor(t) for t in value if t is not None]
                fields[name] = listed
                words.append(f"{len(listed)} sources")
            elif isinstance(value, bytes):
                fields[name] = value.hex()
            else:
                fields[name] = value
                words.append(f"{name} {hex(value) if name == 'hash' else value}")
        return ", ".join(words)

    def _tensor(self, t: TensorRecord) -> str:
        kind = t.ggml_type.name if t.ggml_type else f"type {t.wire_type}"
        place = self._space.place(t.data, t.buffer) if t.data else None
        where = f" at {place[0]}+{place[1]}" if place else ""
        return f"{clip(t.text_name) or 'tensor'} {kind} {_shape(t.ne)}{where}"

    def _reply(self, m: Message, fields: dict[str, Any]) -> str:
        wire = self._dialect.by_name[m.command]
        assert wire.reply is not None
        if m.reply is None:
            return "no answer"
        if len(m.reply) != wire.reply.size:
            return f"{len(m.reply)} bytes that the schema does not explain"
        found = wire.reply.unpack(m.reply)
        plain = {k: v.hex() if isinstance(v, bytes) else v for k, v in found.items()}
        fields["reply"] = plain
        if m.command == "HELLO":
            return "{major}.{minor}.{patch}".format(**plain)
        return ", ".join(f"{k} {v}" for k, v in plain.items())

    def _data(self, name: str, data: Data, m: Message, fields: dict[str, Any]) -> str:
        kind = (
            f"generated {data.gen.type} {clip(data.gen.seed)!r}"
            if data.gen is not None
            else f"all {data.fill}"
            if data.fill is not None
            else f"blob {data.blob[:8]}"
            if data.blob is not None
            else "in the line"
        )
        fields[name] = {"size": data.n, "kind": kind}
        words = f"{name} {data.n} bytes, {kind}"
        if self._wanted.n_values and data.n <= MAX_UNPACKED:
            found = self._values(data, m)
            fields[name]["values"] = found
            words += f" {found}"
        return words

    def _values(self, data: Data, m: Message) -> list[Any]:
        wire = self._dialect.by_name[m.command]
        head = codec.decode_head(self._dialect, wire, m.payload)
        kind = head["tensor"].ggml_type
        raw = data.whole(self._recording.container)
        if kind is not None and kind.name in VALUE_SIZES:
            size = VALUE_SIZES[kind.name]
            part = raw[: min(self._wanted.n_values * size, len(raw) // size * size)]
            return [float(f"{v:.6g}") for v in values(part, kind.name)]
        if kind is not None and kind.name in _INTEGERS:
            dtype = np.dtype(_INTEGERS[kind.name])
            part = raw[: min(self._wanted.n_values, len(raw) // dtype.itemsize) * dtype.itemsize]
            return np.frombuffer(part, dtype).tolist()
        return list(struct.unpack_from(f"{min(self._wanted.n_values, len(raw))}B", raw))


def _pieces(m: Message) -> Iterator[tuple[str, Data]]:
    for name, data in (("data", m.data), ("known", m.known), ("answer", m.answer)):
        if data is not None:
            yield name, data


def _shape(ne: Any) -> str:
    found = list(ne)
    while len(found) > 1 and found[-1] == 1:
        found.pop()
    return "[" + ", ".join(map(str, found)) + "]"
