"""One connection in a dialect: requests by name, answers checked for their length, and what was said written down.

Knows layouts and bytes; what an answer should hold is the case's business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ggmlrpc_conformance.faults import CaseFault, HarnessError, Mismatch, NotApplicable, StreamEnded
from ggmlrpc_conformance.results import Message
from ggmlrpc_conformance.sockets import Socket
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import contiguous_nb, nbytes_of
from ggmlrpc_core.wire.codec import decode_reply, encode_request
from ggmlrpc_core.wire.dialects import Dialect, WireCommand
from ggmlrpc_core.wire.tensors import TensorRecord

MAX_ANSWER = 1 << 34
"""Answers that claim more bytes are not read."""
SHOWN = 24
"""Bytes of data that a written-down message shows."""

Name = Callable[[str, int], str]
"""A field and its number to text, with handles and addresses by name."""


class Memory:
    """A buffer of the target.

    Attributes:
        handle, base: as answered.
        size: bytes, as asked for.
    """

    def __init__(self, handle: int, base: int, size: int) -> None:
        self.handle = handle
        self.base = base
        self.size = size

    def record(
        self,
        offset: int = 0,
        *,
        ggml_type: str = "I8",
        ne: Iterable[int] | None = None,
        **more: Any,
    ) -> TensorRecord:
        """A contiguous tensor in it; by default all bytes from `offset` on, or the first 2^32-1 of them."""
        if ne is None:
            ne = (min(self.size - offset, 0xFFFFFFFF),)
        full = (*ne, 1, 1, 1, 1)[:4]
        kind = TYPES[ggml_type]
        values = {"id": 1, "nb": contiguous_nb(kind, full), **more}
        return TensorRecord(
            type=kind.id, ne=full, buffer=self.handle, data=self.base + offset, **values
        )


class Link:
    """A connection that speaks a dialect.

    Args:
        sock: connected.
        dialect: of requests and answers.
        label: "a", "b", for what is written down.
        say: takes each message.
        name: shows numbers of fields.
    """

    def __init__(
        self,
        sock: Socket,
        dialect: Dialect,
        *,
        label: str,
        say: Callable[[Message], None],
        name: Name,
    ) -> None:
        self.sock = sock
        self.dialect = dialect
        self.label = label
        self._say = say
        self._name = name

    # --- requests

    def wire(self, command: str) -> WireCommand:
        """A command of the dialect.

        Raises:
            NotApplicable: the dialect does not have it.
        """
        found = self.dialect.by_name.get(command)
        if found is None:
            raise NotApplicable(f"{self.dialect.name} has no {command}")
        return found

    def payload(self, command: str, fields: Mapping[str, Any], *, data: bytes = b"") -> bytes:
        """The payload of a request.

        Raises:
            NotApplicable: the dialect has no number for an op or type in it.
        """
        try:
            return encode_request(self.dialect, self.wire(command), fields) + data
        except KeyError as exc:
            raise NotApplicable(f"{self.dialect.name} has no {exc.args[0]}") from exc

    def message(self, command: str, payload: bytes, *, length: int | None = None) -> bytes:
        """A whole request: command, length and payload; `length` may lie."""
        size = len(payload) if length is None else length
        return struct.pack("<BQ", self.wire(command).number, size) + payload

    def send(self, command: str, *, data: bytes = b"", **fields: Any) -> None:
        """Send a request and wait for nothing."""
        payload = self.payload(command, fields, data=data)
        self.tell(True, command, size=len(payload), fields=self.shown(fields, data=data))
        self.sock.send(self.message(command, payload))

    def call(self, command: str, *, data: bytes = b"", **fields: Any) -> dict[str, Any]:
        """Send a request; its answer where the dialect has one, else {}. Data is under "data"."""
        self.send(command, data=data, **fields)
        if self.wire(command).reply is None:
            return {}
        return self.answer(command, size=fields.get("size", 0))

    def answer(self, command: str, *, size: int = 0) -> dict[str, Any]:
        """Read an answer.

        Args:
            command: that it answers.
            size: bytes of data that GET_TENSOR asked for.

        Raises:
            Mismatch: another length.
            StreamEnded, NoAnswer: as they say.
        """
        wire = self.wire(command)
        if wire.reply is None:
            raise HarnessError(f"{command} has no answer in {self.dialect.name}")
        expected = size if wire.reply_body else wire.reply.size
        (length,) = struct.unpack("<Q", self.sock.receive(8, what=f"the answer to {command}"))
        if length != expected:
            extra = self.sock.pending(wait=0.01)[:SHOWN].hex(" ")
            self.tell(False, command, size=length, fields={"bytes": extra})
            raise Mismatch(
                f"an answer of {expected} bytes to {command}", f"a length of {length} bytes"
            )
        if length > MAX_ANSWER:
            raise HarnessError(f"an answer of {length} bytes was asked for")
        body = self.sock.receive(length, what=f"{length} bytes of the answer to {command}")
        if wire.reply_body:
            self.tell(False, command, size=length, fields={"data": _data(body)})
            return {"data": bytes(body)}
        fields = decode_reply(wire, body)
        self.tell(False, command, size=length, fields=self.shown(fields))
        return fields

    def raw(self, data: bytes) -> None:
        """Send literal bytes."""
        self.tell(True, "raw", size=len(data), fields={"bytes": _data(data)})
        self.sock.send(data)

    # --- what cases are made of

    def hello(self) -> dict[str, Any]:
        """Greet, in the dialects that do.

        Raises:
            Mismatch: another version is announced.
        """
        if "HELLO" not in self.dialect.by_name:
            return {}
        answer = self.call("HELLO")
        announced = (answer["major"], answer["minor"])
        if announced != tuple(self.dialect.version[:2]):
            raise Mismatch(
                f"version {self.dialect.version.major}.{self.dialect.version.minor}",
                "{}.{}".format(*announced),
            )
        return answer

    def alloc(self, size: int, *, device: int = 0) -> Memory:
        """A buffer and its base.

        Raises:
            Mismatch: none was given, or a smaller one.
        """
        answer = self.call("ALLOC_BUFFER", device=device, size=size)
        handle, got = answer["remote_ptr"], answer["remote_size"]
        if handle == 0 or got < size:
            raise Mismatch(f"a buffer of {size} bytes", f"handle {handle:#x} of {got} bytes")
        base = self.call("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]
        return Memory(handle, base, size)

    def set(self, memory: Memory, data: bytes, *, offset: int = 0) -> None:
        """Write bytes."""
        self.call("SET_TENSOR", tensor=memory.record(), offset=offset, data=data)

    def get(self, memory: Memory, size: int | None = None, *, offset: int = 0) -> bytes:
        """Read bytes; all of them by default."""
        n = memory.size - offset if size is None else size
        return bytes(self.call("GET_TENSOR", tensor=memory.record(), offset=offset, size=n)["data"])

    def barrier(self) -> None:
        """Ask something that is answered in every dialect: everything before it has been read by then."""
        self.call("GET_DEVICE_MEMORY", device=0)

    def ended(self) -> str:
        """ "closed" or "reset" when the target has ended the stream and sends nothing before it.

        Raises:
            Mismatch: bytes came.
            NoAnswer: neither.
        """
        try:
            got = self.sock.receive(1, what="the end of the stream")
        except StreamEnded as exc:
            self.tell(False, "end", fields={"by": "reset" if exc.reset else "close"})
            return "reset" if exc.reset else "closed"
        extra = bytes(got) + self.sock.pending(wait=0.01)
        self.tell(False, "raw", size=len(extra), fields={"bytes": _data(extra)})
        raise Mismatch("the end of the stream", f"bytes {_data(extra)}")

    def close(self) -> None:
        """Leave."""
        self.sock.close()

    # --- writing down

    def tell(
        self, sent: bool, command: str, *, size: int = 0, fields: Mapping[str, str] | None = None
    ) -> None:
        """Write a message down."""
        self._say(Message(self.label, sent, command, size, fields or {}))

    def shown(self, fields: Mapping[str, Any], *, data: bytes = b"") -> dict[str, str]:
        """Fields as text."""
        text = {key: self._show(key, value) for key, value in fields.items()}
        if data:
            text["data"] = _data(data)
        return text

    def _show(self, key: str, value: Any) -> str:
        if isinstance(value, TensorRecord):
            return self._tensor(value)
        if isinstance(value, np.ndarray):
            return f"{len(value)} items"
        if isinstance(value, bytes):
            return _data(value) if value.strip(b"\0") else f"{len(value)} zero bytes"
        if isinstance(value, int) and not isinstance(value, bool):
            return self._name(key, value)
        if isinstance(value, list | tuple):
            return ", ".join(self._show(key, v) for v in value[:8]) + (" ..." if value[8:] else "")
        return str(value)

    def _tensor(self, t: TensorRecord) -> str:
        kind = t.ggml_type.name if t.ggml_type else f"type {t.type}"
        place = f"{self._name('data', t.data)} in {self._name('buffer', t.buffer)}"
        span = nbytes_of(t.ggml_type, t.ne, t.nb) if t.ggml_type else 0
        return f"{kind} {list(t.ne)} ({span} bytes) at {place}"


def _data(data: bytes | bytearray | memoryview) -> str:
    head = bytes(data[:SHOWN]).hex(" ")
    return head if len(data) <= SHOWN else f"{head} ... ({len(data)} bytes)"


__all__ = ["CaseFault", "Link", "Memory"]
