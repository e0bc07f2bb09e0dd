"""The sans-IO connection: bytes in, events out. Knows framing and order, not meaning.

Server:

    conn = Connection(Role.SERVER, dialect)
    conn.receive_data(data)              # b"" when the peer closed
    event = conn.next_event()            # Request | NEED_DATA | PEER_CLOSED
    data = conn.reply(remote_ptr=1, remote_size=64)

Client:

    conn = Connection(Role.CLIENT, dialect)
    data = conn.request("ALLOC_BUFFER", device=0, size=64)
    conn.receive_data(...)
    event = conn.next_event()            # Reply | NEED_DATA | PEER_CLOSED

Bodies (data of SET_TENSOR and GET_TENSOR) never pass through: after an event with `body_size`, `take_body(view)` hands
out the bytes that came along with the head, and the owner receives the rest where it likes and tells it by
`body_received`. The owner of a sender writes the body itself after the head.

Every size is a claim: it is checked against the command and the limits before anything is allocated. After any
ProtocolError the connection is closed; any other exception is a bug.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from ggmlrpc_core.engine.events import NEED_DATA, PEER_CLOSED, Event, Reply, Request
from ggmlrpc_core.engine.limits import Limits
from ggmlrpc_core.engine.readings import Choose, fitting, head_size, narrowed, possible, readings
from ggmlrpc_core.engine.state import TRANSITIONS, Role, State, Step
from ggmlrpc_core.errors import (
    FrameTooLarge,
    LocalProtocolError,
    RemoteProtocolError,
    TruncatedFrame,
    UnknownCommand,
    VersionMismatch,
)
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.commands import HELLO
from ggmlrpc_core.wire.dialects import Dialect, WireCommand

_HEADER = struct.Struct("<BQ")  # command, payload length
_LENGTH = struct.Struct("<Q")  # payload length of a reply

BytesLike = bytes | bytearray | memoryview


class Connection:
    """One side of one connection.

    Attributes:
        role: CLIENT or SERVER.
        dialect: what both sides speak. A client that learns another one from HELLO's answer sets it
            before its next request.
        candidates: what the peer of a server may speak; `dialect` is the first. Requests narrow it.
        state: what comes next; see state.py.
        bytes_wanted: how many more bytes the current part of a message needs, at least 1.
    """

    def __init__(
        self,
        role: Role,
        dialect: Dialect,
        *,
        limits: Limits | None = None,
        candidates: Sequence[Dialect] = (),
        choose: Choose = list,
    ) -> None:
        self.role = role
        self.dialect = dialect
        self.candidates = tuple(candidates) or (dialect,)
        self._choose = choose
        self.limits = limits or Limits()
        greets = any(HELLO in one.by_name for one in self.candidates)
        self.state = State.GREETING if greets else State.READY
        self.bytes_wanted = 1
        self._buffer = bytearray()
        self._at = 0  # first byte of _buffer that is not consumed
        self._ended = False
        self._pending: WireCommand | None = None  # request whose answer or body is due
        self._body_left = 0

    # --- what comes in

    def receive_data(self, data: BytesLike) -> None:
        """Store bytes from the peer; empty means that it closed its side."""
        if not data:
            self._ended = True
            return
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next_event(self) -> Event:
        """The next thing that happened.

        Raises:
            RemoteProtocolError: the peer broke the protocol; the connection is closed.
            LocalProtocolError: the owner owes an answer or a body first.
        """
        try:
            if self.role is Role.SERVER:
                return self._next_request()
            return self._next_reply()
        except RemoteProtocolError:
            self._advance(Step.END)
            raise

    def take_body(self, into: memoryview) -> int:
        """Move body bytes that are already here to `into`; returns how many."""
        if self.state not in (State.BODY, State.REPLY_BODY):
            return 0
        n = min(len(self._buffer) - self._at, self._body_left, len(into))
        if n:
            into[:n] = memoryview(self._buffer)[self._at : self._at + n]
            self._at += n
            self.body_received(n)
        return n

    def body_received(self, n: int) -> None:
        """The owner received n body bytes directly.

        Raises:
            LocalProtocolError: no body is due, or fewer bytes.
        """
        if n > self._body_left:
            raise LocalProtocolError("body", "bytes received", n, f"at most {self._body_left}")
        self._body_left -= n
        self.bytes_wanted = max(self._body_left, 1)
        if self._body_left == 0 and self.state in (State.BODY, State.REPLY_BODY):
            self._body_done()

    @property
    def body_left(self) -> int:
        """Bytes of the current body that are still to come."""
        return self._body_left

    @property
    def between_messages(self) -> bool:
        """Whether no byte of a next message is here and no body is due."""
        return len(self._buffer) == self._at and not self._body_left

    # --- what goes out

    def request(self, command: str, *, body_size: int = 0, **fields: Any) -> bytes:
        """Client: the bytes of a request up to its body, which the owner sends after them.

        Raises:
            LocalProtocolError: not now, no such command in the dialect, or fields that do not fit.
        """
        wire = self._command(command)
        step = Step.HELLO if command == HELLO else Step.ASK if wire.reply else Step.TELL
        if wire.body:
            step = Step.UPLOAD
        self._check(step, command)
        payload = codec.encode_request(self.dialect, wire, fields)
        if step is Step.UPLOAD and body_size == 0:
            self._advance(step)
            self._pending = wire
            self._body_done()
        elif step is not Step.TELL:
            self._advance(step)
            self._pending = wire
            self._body_left = (
                body_size if wire.body else fields.get("size", 0) if wire.reply_body else 0
            )
        return _HEADER.pack(wire.number, len(payload) + body_size) + payload

    def body_sent(self) -> None:
        """Client: the body of the last request has been written in full."""
        if self.state is not State.BODY:
            raise LocalProtocolError("body", "state", self.state.name, "BODY")
        self._body_left = 0
        self._body_done()

    def reply(self, **fields: Any) -> bytes:
        """Server: the bytes that answer the pending request."""
        wire = self._pending_for(Step.REPLY)
        payload = codec.encode_reply(wire, fields)
        self._advance(Step.REPLY)
        return _LENGTH.pack(len(payload)) + payload

    def reply_head(self, size: int) -> bytes:
        """Server: the length that goes before a body of `size` bytes, which the owner sends after it."""
        self._pending_for(Step.REPLY)
        self._advance(Step.REPLY)
        return _LENGTH.pack(size)

    def close(self) -> None:
        """The owner closes; nothing more may come or go."""
        self._advance(Step.END)

    def adopt(self, dialects: Sequence[Dialect]) -> None:
        """Server: the owner knows more about what the peer speaks; an answer that it does not wait for is dropped."""
        self.candidates, self.dialect = tuple(dialects), dialects[0]
        if self.state is State.ANSWERING and self._pending is not None:
            wire = self.dialect.by_number[self._pending.number]
            if wire.reply is None:
                self._advance(Step.REPLY)

    # --- inside

    def _next_request(self) -> Event:
        if self.state not in (State.READY, State.GREETING):
            raise LocalProtocolError("next_event", "state", self.state.name, "READY or GREETING")
        have = len(self._buffer) - self._at
        if have == 0:
            return self._nothing()
        if len(self.candidates) > 1:
            return self._next_undecided(have)
        wire = self._identify(self._buffer[self._at])
        if have < _HEADER.size:
            return self._wait(_HEADER.size - have)
        (size,) = _LENGTH.unpack_from(self._buffer, self._at + 1)
        codec.check_request_size(wire, size, self.dialect.version)
        held = wire.request.size if wire.body else size
        self._check_limit(wire.name, held)
        if have < _HEADER.size + held:
            return self._wait(_HEADER.size + held - have)
        start = self._at + _HEADER.size
        self._at = start + held
        if wire.counted:
            fields = codec.decode_graph(
                self.dialect, wire, bytes(memoryview(self._buffer)[start : self._at])
            )
        else:
            fields = codec.decode_head(
                self.dialect, wire, memoryview(self._buffer)[start : self._at]
            )
        self._accept(wire, size - held)
        return Request(wire.name, fields, size, size - held if wire.body else 0)

    def _next_undecided(self, have: int) -> Event:
        """The next request of a peer that may speak several dialects."""
        number = self._buffer[self._at]
        options = possible(self.candidates, number, greeting=self.state is State.GREETING)
        if not options:
            self._identify(number)
        if have < _HEADER.size:
            return self._wait(_HEADER.size - have)
        (size,) = _LENGTH.unpack_from(self._buffer, self._at + 1)
        if not fitting(options, size):
            if self.state is State.GREETING:  # told as by a server of one dialect
                options = [(self.dialect, self._identify(number))]
            codec.check_request_size(options[0][1], size, options[0][0].version)
        options = fitting(options, size)
        held = max(min(head_size(wire, size), size) for _, wire in options)
        self._check_limit(options[0][1].name, held)
        if have < _HEADER.size + held:
            return self._wait(_HEADER.size + held - have)
        start = self._at + _HEADER.size
        payload = bytes(memoryview(self._buffer)[start : start + held])
        found = list(self._choose(readings(options, size, payload)))
        self.candidates = narrowed(self.candidates, found)
        self.dialect = self.candidates[0]
        if self.state is State.GREETING and HELLO not in self.dialect.by_name:
            self.state = State.READY
        first = found[0]
        self._at = start + head_size(first.wire, size)
        self._accept(first.wire, first.body_size)
        return Request(first.wire.name, first.fields, size, first.body_size)

    def _check_limit(self, command: str, held: int) -> None:
        if held > self.limits.max_message:
            raise FrameTooLarge(
                command, "request_size", f"{held} bytes", f"at most {self.limits.max_message}"
            )

    def _identify(self, number: int) -> WireCommand:
        """The command of a first byte; judged before its length is there, as the stock server does."""
        wire = self.dialect.by_number.get(number)
        if self.state is State.GREETING and HELLO in self.dialect.by_name:
            if wire is None or wire.name != HELLO:
                shown = f"{wire.name} ({number})" if wire else str(number)
                error = VersionMismatch if wire else RemoteProtocolError  # older ones know no HELLO
                raise error(HELLO, "first command", shown, f"HELLO ({self._command(HELLO).number})")
        elif wire is None:
            raise UnknownCommand(
                "request",
                "command",
                number,
                "a command of the dialect",
                context=f"protocol {self.dialect.version}",
            )
        elif wire.name == HELLO:
            raise RemoteProtocolError(HELLO, "command", "a second HELLO", "any other command")
        assert wire is not None
        return wire

    def _accept(self, wire: WireCommand, body_size: int) -> None:
        """Make the step of a request that has been read."""
        if wire.name == HELLO:
            self._advance(Step.HELLO)
        elif wire.body:
            self._advance(Step.UPLOAD)
        else:
            self._advance(Step.ASK if wire.reply else Step.TELL)
        self._pending = wire
        if wire.body:
            self._body_left = body_size
            self.bytes_wanted = max(body_size, 1)
            if body_size == 0:
                self._body_done()

    def _next_reply(self) -> Event:
        if self.state is State.REPLY_BODY or self.state is State.BODY:
            raise LocalProtocolError("next_event", "state", self.state.name, "ANSWERING or READY")
        have = len(self._buffer) - self._at
        if have == 0:
            return self._nothing()
        wire = self._pending
        if self.state is not State.ANSWERING or wire is None or wire.reply is None:
            raise RemoteProtocolError("reply", "bytes", f"{have} without a request", "none")
        if have < _LENGTH.size:
            return self._wait(_LENGTH.size - have)
        (size,) = _LENGTH.unpack_from(self._buffer, self._at)
        expected = self._body_left if wire.reply_body else wire.reply.size
        if size != expected:
            raise RemoteProtocolError(
                wire.name,
                "reply_size",
                f"{size} bytes",
                str(expected),
                context=f"protocol {self.dialect.version}",
            )
        if wire.reply_body:
            self._at += _LENGTH.size
            self._advance(Step.DATA)
            self.bytes_wanted = max(size, 1)
            if size == 0:
                self._body_done()
            return Reply(wire.name, {}, size)
        if have < _LENGTH.size + size:
            return self._wait(_LENGTH.size + size - have)
        fields = codec.decode_reply(wire, memoryview(self._buffer)[self._at + _LENGTH.size :])
        self._at += _LENGTH.size + size
        self._advance(Step.REPLY)
        return Reply(wire.name, fields)

    def _nothing(self) -> Event:
        """No byte is there: wait, or the peer is gone."""
        if not self._ended:
            return self._wait(1)
        if self.state is State.ANSWERING:
            raise TruncatedFrame(
                self._pending.name if self._pending else "reply",
                "connection",
                "closed by the peer",
                "an answer",
            )
        self._advance(Step.END)
        return PEER_CLOSED

    def _wait(self, n: int) -> Event:
        """n more bytes are needed inside a message."""
        if self._ended:
            have = len(self._buffer) - self._at
            raise TruncatedFrame(
                "stream", "message", f"{have} bytes long at its end", f"{have + n} bytes"
            )
        self.bytes_wanted = n
        return NEED_DATA

    def _body_done(self) -> None:
        if self.state is State.REPLY_BODY:
            self._advance(Step.DATA_DONE)
        else:
            answered = self._pending is not None and self._pending.reply is not None
            self._advance(Step.UPLOADED_ASK if answered else Step.UPLOADED)

    def _command(self, name: str) -> WireCommand:
        wire = self.dialect.by_name.get(name)
        if wire is None:
            raise LocalProtocolError(name, "dialect", self.dialect.name, "one that has the command")
        return wire

    def _pending_for(self, step: Step) -> WireCommand:
        self._check(step, "reply")
        assert self._pending is not None
        return self._pending

    def _check(self, step: Step, where: str) -> None:
        if step not in TRANSITIONS[self.state]:
            allowed = ", ".join(s.name for s in TRANSITIONS[self.state]) or "nothing"
            raise LocalProtocolError(
                where, "step", step.name, f"{allowed} in state {self.state.name}"
            )

    def _advance(self, step: Step) -> None:
        self._check(step, self._pending.name if self._pending else "connection")
        self.state = TRANSITIONS[self.state][step]
        self.bytes_wanted = 1
