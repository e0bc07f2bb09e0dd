"""A recording without anybody's model and words: same messages, shapes and order, other bytes.

Weights and activations become generated data of the same type, ids of tokens become other ids of the same range, names
become t1, t2, ...; answers are no longer expected (complete.py asks a server for them). Kept are positions and other
places, and masks, because graphs fail or change their meaning with others. Knows no socket.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ggmlrpc_core.errors import GgmlRpcError, RecordingError
from ggmlrpc_core.ggml.fnv import OFFSET_BASIS, fnv1a_64
from ggmlrpc_core.recording.compare import VALUE_SIZES, values
from ggmlrpc_core.recording.data import MAX_UNPACKED, Data, in_line
from ggmlrpc_core.recording.file import LinesFile, Recording
from ggmlrpc_core.recording.generate import Generated, generated_weight, words
from ggmlrpc_core.recording.lines import Line, number_out
from ggmlrpc_core.recording.messages import Message
from ggmlrpc_core.recording.transform import adopt, new_recording
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.tensors import TensorRecord

SEED = "scrub"
_INTEGERS = {"I32": "<i4", "I64": "<i8"}
"""Types of places and ids. Smaller integers are raw bytes to some clients, and anything may be in them."""
_LEAKS = ("name_hex", "tail", "gap", "padding")
"""Fields with bytes that a client had lying around."""

_KEPT_OPAQUE = 48
"""Bytes of what is no message that are kept; more may be anybody's data."""


@dataclass
class Scrubbed:
    """What was done.

    Attributes:
        replaced: pieces of data that are generated now.
        kept: pieces that stayed: places, masks, single bytes.
        opaque: pieces that no schema explains and that are zeros now.
    """

    replaced: int = 0
    kept: int = 0
    opaque: int = 0


class _Scrubber:
    def __init__(self, source: Recording, target: LinesFile, *, keep_names: bool) -> None:
        self._source, self._target = source, target
        self._keep_names = keep_names
        self._ids = token_places(source)
        self._hashes: dict[int, int] = {}
        self.done = Scrubbed()

    def run(self) -> None:
        """Write every line in its new form."""
        waiting: deque[list[Any]] = (
            deque()
        )  # [line, message] after a hash whose data is still to come
        for _, line, event in self._source.events():
            waiting.append([dict(line), event])
            while waiting and self._settled(waiting):
                new, head = waiting.popleft()
                self._write(new, head, waiting)
        while waiting:
            new, head = waiting.popleft()
            self._write(new, head, waiting)

    @staticmethod
    def _settled(waiting: deque[list[Any]]) -> bool:
        """Whether the first line can be written: a hash waits for the next line of its connection."""
        first = waiting[0][0]
        if first.get("cmd") != "SET_TENSOR_HASH" or "of" in first:
            return True
        return any(line.get("c") == first["c"] for line, _ in list(waiting)[1:])

    def _write(self, line: Line, event: Any, waiting: deque[list[Any]]) -> None:
        line.pop("expect", None)
        if not self._keep_names:
            _without_names(line)
        for key in ("raw", "payload"):
            if key in line and line[key]["n"] > _KEPT_OPAQUE:
                line[key] = Data(line[key]["n"], fill=0).to_line()
                self.done.opaque += 1
        if isinstance(event, Message):
            self._message(line, event, waiting)
        adopt(line, self._source, self._target)
        self._target.write_line(line)
        self._target.n_events += event is not None

    def _message(self, line: Line, m: Message, waiting: deque[list[Any]]) -> None:
        dialect = self._source.head.dialect
        if m.command not in ("SET_TENSOR", "SET_TENSOR_HASH"):
            return
        fields = codec.decode_head(dialect, dialect.by_name[m.command], m.payload)
        tensor: TensorRecord = fields["tensor"]
        if m.command == "SET_TENSOR" and m.data is not None:
            seed = line.pop("_seed", None)
            line["data"] = self._other(tensor, fields["offset"], m.data, seed).to_line()
        elif m.command == "SET_TENSOR_HASH":
            follows = next(((o, e) for o, e in waiting if o.get("c") == line["c"]), None)
            of = m.known
            seed = f"hash/{self._hashes.setdefault(fields['hash'], len(self._hashes))}"
            if of is None and follows is not None and isinstance(follows[1], Message):
                of = follows[1].data
                follows[0]["_seed"] = seed
            if of is None:
                line["hash"] = number_out(self._hashes[fields["hash"]])
                return
            data = self._other(tensor, fields["offset"], of, seed)
            line["hash"] = number_out(self._hash(data))
            if m.known is not None:
                line["of"] = data.to_line()

    def _hash(self, data: Data) -> int:
        state = OFFSET_BASIS
        for piece in data.pieces(self._source.container):
            state = fnv1a_64(piece, state)
        return state

    def _other(self, tensor: TensorRecord, offset: int, data: Data, seed: str | None) -> Data:
        """Other data of the same kind."""
        kind = tensor.ggml_type
        if data.fill is not None or kind is None or data.n == 0:
            self.done.kept += 1
            return data
        place = (tensor.buffer, tensor.data + offset)
        if kind.name in _INTEGERS:
            if place not in self._ids or data.n > MAX_UNPACKED:
                self.done.kept += 1
                return data
            self.done.replaced += 1
            return self._other_ids(data, _INTEGERS[kind.name])
        if kind.name in VALUE_SIZES and data.n <= MAX_UNPACKED and self._is_mask(data, kind.name):
            self.done.kept += 1
            return data
        self.done.replaced += 1
        if kind.name in ("I8", "I16"):
            raw = Generated("F32", f"{SEED}/{tensor.buffer}/{tensor.data}", lo=-1.0, hi=1.0)
            return Data(data.n, gen=raw, skip=offset)
        made = generated_weight(SEED, tensor.text_name, ggml_type=kind.name, ne0=tensor.ne[0])
        if made is None:
            return Data(data.n, fill=0)
        text = f"{SEED}/{seed or f'{tensor.buffer}/{tensor.data}'}"
        return Data(data.n, gen=replace(made, seed=text), skip=offset)

    def _other_ids(self, data: Data, dtype: str) -> Data:
        found = np.frombuffer(data.whole(self._source.container), dtype)
        top = max(int(found.max(initial=0)), 0)
        drawn = words(f"{SEED}/ids/{self.done.replaced}", 0, found.size) % np.uint64(top + 1)
        return in_line(np.where(found < 0, found, drawn.astype(dtype)).astype(dtype).tobytes())

    def _is_mask(self, data: Data, kind: str) -> bool:
        size = VALUE_SIZES[kind]
        whole = data.whole(self._source.container)
        found = np.unique(values(whole[: data.n // size * size], kind))
        return set(found.tolist()) <= {0.0, 1.0, -np.inf}


def token_places(recording: Recording) -> set[tuple[int, int]]:
    """(buffer, address) of tensors whose values pick rows of another one: ids of tokens are among them.

    Raises:
        RecordingError: the recording breaks its format.
    """
    dialect = recording.head.dialect
    get_rows = dialect.numbering.ops["GET_ROWS"]
    found: set[tuple[int, int]] = set()
    for _, _, event in recording.events():
        if not isinstance(event, Message) or not dialect.by_name[event.command].counted:
            continue
        try:
            rows = codec.decode_graph(dialect, dialect.by_name[event.command], event.payload)[
                "tensors"
            ]
        except (GgmlRpcError, struct.error):  # no graph, kept as it was sent
            continue
        ids = {int(src[1]) for src in rows["src"][rows["op"] == get_rows]}
        for row in rows[np.isin(rows["id"], np.array(sorted(ids), np.uint64))]:
            found.add((int(row["buffer"]), int(row["data"])))
    return found


def scrub(source: Path, target: Path, *, keep_names: bool = False) -> Scrubbed:
    """Write a recording without private bytes.

    Args:
        source: any recording.
        target: where to; a zip file when the name ends in .zip.
        keep_names: of tensors.

    Raises:
        RecordingError: the source breaks the format, or the target is there already.
    """
    with Recording(source) as recording:
        if recording.head.privacy == "scrubbed":
            raise RecordingError(
                recording.name, "privacy", "scrubbed", "a recording that is not yet"
            )
        head = replace(recording.head, privacy="scrubbed", about={})
        with new_recording(target, head) as file:
            scrubber = _Scrubber(recording, file, keep_names=keep_names)
            scrubber.run()
        return scrubber.done


def _without_names(line: Line) -> None:
    for key in _LEAKS:
        line.pop(key, None)
    if "name" in line:
        line["name"] = f"t{line['id']}"
    for value in line.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                _inner(one)


def _inner(tensor: Line) -> None:
    """A tensor in a message, or what changed in one of a graph."""
    for key in _LEAKS:
        tensor.pop(key, None)
    if "name" in tensor:
        if "id" in tensor:
            tensor["name"] = f"t{tensor['id']}"
        else:
            del tensor["name"]
