"""One recorded connection: messages of a client to its server and back, both to the capture.

A request goes to the server, its answer to the client, in the order of the protocol; bodies pass in pieces. What is no
message of the dialect passes unread, and is recorded as bytes.
"""

from __future__ import annotations

import contextlib
import struct
from functools import partial
from typing import Any

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import ConnectionLost, RecordingError
from ggmlrpc_core.recording.capture import Capture, Upload
from ggmlrpc_core.recording.file import ALIGNMENT
from ggmlrpc_core.recording.messages import Close, Message, Open, Raw
from ggmlrpc_core.recording.rewrite import handle_of, to_server
from ggmlrpc_core.recording.sockets import Ended, Stream, dial, readable
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import Dialect, WireCommand, by_version
from ggmlrpc_core.wire.version import ProtocolVersion

_HEADER = struct.Struct("<BQ")
_LENGTH = struct.Struct("<Q")
MAX_HEAD = 256 << 20
"""Bytes of a request that are held in memory; a longer one passes unread."""
MAX_REPLY = 1 << 20
HELLO = 14
HELLO_REPLIES = (3, 28)
CONNECT_SECONDS = 10.0
BODY = 1 << 20


class Relay:
    """One client and its connection to the server."""

    def __init__(self, capture: Capture, client: Stream, target: Endpoint, number: int) -> None:
        self._capture = capture
        self._client = client
        self._target = target
        self._server: Stream | None = None
        self._number = capture.next_connection()
        self._opened = Open(self._number, number)
        self._is_open = False
        self._busy = True
        self._stopped = False
        self._hash: int | None = None

    def stop(self) -> None:
        """End it from another thread."""
        self._stopped = True
        self._client.close()
        if self._server is not None:
            self._server.close()

    def unsettled(self) -> bool:
        """Whether something of it is still to be noticed."""
        return self._busy or bool(readable(self._client.sock, timeout=0))

    def run(self) -> None:
        """Serve it to its end."""
        by = "client"
        try:
            self._server = dial(self._target, CONNECT_SECONDS)
            self._server.sock.settimeout(None)
            by = self._messages(self._server)
        except (Ended, ConnectionLost):
            by = "server"
        except (RecordingError, OSError):
            by = "recorder"
        finally:
            self._end(by)

    def _end(self, by: str) -> None:
        with contextlib.suppress(RecordingError):  # the recorder tells why it cannot write
            if self._is_open:
                by = "recorder" if self._stopped else by
                self._capture.event(Close(self._number, by))
        self._client.close()
        if self._server is not None:
            self._server.close()
        self._busy = False

    def _messages(self, server: Stream) -> str:
        """Pass messages until one side ends; returns which."""
        while True:
            if not self._client.waiting:
                self._busy = False
                ready = readable(self._client.sock, server.sock, timeout=None)
                self._busy = True
                if self._client.sock not in ready:
                    return "server"  # it closed, or said something that nobody asked for
            try:
                header = self._client.exactly(_HEADER.size)
            except Ended as end:
                self._unread(server, end.partial)
                return "client"
            ended = self._message(server, header)
            if ended:
                return ended

    def _message(self, server: Stream, header: bytes) -> str:
        """One request and its answer; returns who ended the connection in it, "" for nobody."""
        number, length = _HEADER.unpack(header)
        dialect = self._capture.dialect
        if number == HELLO and length <= 24 and not self._is_open:
            return self._hello(server, header, length)
        if dialect is None:
            raise RecordingError(
                "record", "first command", number, "HELLO (14)", context="hint: name the --dialect"
            )
        self._begin()
        wire = dialect.by_number.get(number)
        if wire is None or not _plausible(wire, length):
            return self._pass_unread(server, header)
        try:
            payload = self._client.exactly(wire.request.size if wire.body else length)
        except Ended as end:
            self._unread(server, header + end.partial)
            return "client"
        sent = bytearray(payload)
        with self._capture.lock:
            to_server(dialect, wire, sent, self._capture.rebinder)
        try:
            server.send(header + sent)
            if wire.body:
                return self._body(server, dialect, wire, payload, length - len(payload))
            if wire.counted:
                self._capture.computes(dialect, wire, payload)
            return self._answer(server, dialect, wire, payload)
        except Ended:
            self._capture.event(Message(self._number, wire.name, payload))
            return "server"

    def _hello(self, server: Stream, header: bytes, length: int) -> str:
        """HELLO, whose answer says which dialect it was."""
        try:
            payload = self._client.exactly(length)
        except Ended as end:
            self._unread(server, header + end.partial)
            return "client"
        try:
            server.send(header + payload)
            head = server.exactly(_LENGTH.size)
            (size,) = _LENGTH.unpack(head)
            if size not in HELLO_REPLIES:
                raise RecordingError("HELLO", "reply_size", size, "3 or 28")
            reply = server.exactly(size)
        except Ended:
            if self._capture.dialect is not None:
                self._begin()
                self._capture.event(Message(self._number, "HELLO", payload))
            return "server"
        announced = ProtocolVersion(*reply[:3])
        found = by_version(announced)
        if self._capture.dialect is None and found is None:
            raise RecordingError(
                "HELLO",
                "server version",
                announced,
                "a known one",
                context="hint: name the --dialect",
            )
        if found is not None:
            self._capture.learn(found)
        self._begin()
        self._capture.event(Message(self._number, "HELLO", payload, reply=reply))
        self._client.send(head + reply)
        return ""

    def _begin(self) -> None:
        if not self._is_open:
            self._is_open = True
            self._capture.event(self._opened)

    def _answer(self, server: Stream, dialect: Dialect, wire: WireCommand, payload: bytes) -> str:
        if wire.reply is None:
            self._capture.event(Message(self._number, wire.name, payload))
            return ""
        head = server.exactly(_LENGTH.size)
        (size,) = _LENGTH.unpack(head)
        if wire.reply_body:
            return self._data(server, dialect, wire, payload, head, size)
        if size > MAX_REPLY:
            raise RecordingError(wire.name, "reply_size", size, f"at most {MAX_REPLY}")
        real = server.exactly(size)
        with self._capture.lock:
            reply = self._virtual(wire, payload, real)
            self._note(dialect, wire, payload, reply)
            if wire.name == "SET_TENSOR_HASH" and reply == b"\x01":
                self._capture.work(partial(self._hit, wire, payload, reply), 0)
            else:
                self._capture.event(Message(self._number, wire.name, payload, reply=reply))
        return self._to_client(head + reply)

    def _hit(self, wire: WireCommand, payload: bytes, reply: bytes) -> None:
        assert self._capture.dialect is not None
        digest = codec.decode_head(self._capture.dialect, wire, payload)["hash"]
        known = self._capture.known(digest)
        self._capture.write_now(Message(self._number, wire.name, payload, reply=reply, known=known))

    def _note(self, dialect: Dialect, wire: WireCommand, payload: bytes, reply: bytes) -> None:
        """Remember what later messages depend on."""
        if wire.name == "SET_TENSOR_HASH":
            self._hash = codec.decode_head(dialect, wire, payload)["hash"]
        elif wire.name == "COPY_TENSOR" and reply == b"\x01":
            fields = codec.decode_head(dialect, wire, payload)
            self._capture.copies(fields["src"].buffer, fields["dst"].buffer)

    def _virtual(self, wire: WireCommand, payload: bytes, real: bytes) -> bytes:
        """An answer as the client sees it."""
        assert wire.reply is not None
        if len(real) != wire.reply.size:
            return real
        fields: dict[str, Any] = wire.reply.unpack(real)
        capture = self._capture
        if "alignment" in fields:
            fields["alignment"] = max(fields["alignment"], ALIGNMENT)
        elif fields.get("remote_ptr"):
            handle = capture.space.add(fields["remote_size"])
            capture.rebinder.bind_handle(handle, fields["remote_ptr"])
            fields["remote_ptr"] = handle
        elif fields.get("base_ptr"):
            handle = handle_of(wire, payload)
            if capture.space.has(handle):
                capture.rebinder.bind_base(handle, fields["base_ptr"])
                fields["base_ptr"] = capture.space.base(handle)
        elif "free_mem" in fields and capture.options.memory is not None:
            fields["free_mem"] = fields["total_mem"] = capture.options.memory
        else:
            return real
        return wire.reply.pack(fields)

    def _data(
        self,
        server: Stream,
        dialect: Dialect,
        wire: WireCommand,
        payload: bytes,
        head: bytes,
        size: int,
    ) -> str:
        """An answer that is tensor data."""
        tensor = codec.decode_head(dialect, wire, payload)["tensor"]
        upload = self._capture.upload(size=size)
        gone = self._to_client(head)
        left = size
        while left:
            try:
                piece = server.some(min(left, BODY))
            except Ended:
                upload.drop()
                raise
            left -= len(piece)
            upload.write(piece)
            gone = gone or self._to_client(piece)
        upload.finish()
        tolerance = self._capture.tolerance(tensor)

        def write() -> None:
            self._capture.write_now(
                Message(
                    self._number,
                    wire.name,
                    payload,
                    reply=b"",
                    answer=upload.data,
                    tolerance=tolerance,
                )
            )

        self._capture.work(write, 0)
        return gone

    def _body(
        self, server: Stream, dialect: Dialect, wire: WireCommand, payload: bytes, size: int
    ) -> str:
        """The data of an upload, and its answer where there is one."""
        fields = codec.decode_head(dialect, wire, payload)
        upload = self._capture.upload(
            size=size, guess=self._capture.guess(fields["tensor"]), skip=fields["offset"]
        )
        left, ended = size, ""
        while left and not ended:
            try:
                piece = self._client.some(min(left, BODY))
            except Ended:
                ended = "client"
                break
            left -= len(piece)
            upload.write(piece)
            self._capture.uploaded += len(piece)
            try:
                server.send(piece)
            except Ended:
                ended = "server"
        upload.finish()
        reply = None
        if not ended and wire.reply is not None:
            try:
                head = server.exactly(_LENGTH.size)
                reply = server.exactly(min(_LENGTH.unpack(head)[0], MAX_REPLY))
            except Ended:
                ended = "server"
        self._uploaded(wire, payload, upload, reply, len(payload) + size if left else None)
        if reply is not None:
            return self._to_client(head + reply)
        return ended

    def _uploaded(
        self,
        wire: WireCommand,
        payload: bytes,
        upload: Upload,
        reply: bytes | None,
        length: int | None,
    ) -> None:
        digest, self._hash = self._hash, None

        def write() -> None:
            data = upload.data
            assert data is not None
            if digest is not None and length is None:
                self._capture.remember(digest, data)
            self._capture.write_now(Message(self._number, wire.name, payload, data, length, reply))

        self._capture.work(write, 0)

    def _to_client(self, data: bytes) -> str:
        """Send to the client; returns who ended."""
        try:
            self._client.send(data)
        except Ended:
            return "client"
        return ""

    def _unread(self, server: Stream, partial_bytes: bytes) -> None:
        """The client ended in the middle of a request."""
        if not partial_bytes:
            return
        if self._capture.dialect is not None:
            self._begin()
            upload = self._capture.upload(size=len(partial_bytes))
            self._raw(upload, partial_bytes)
        with contextlib.suppress(Ended):
            server.send(partial_bytes)

    def _raw(self, upload: Upload, data: bytes) -> None:
        upload.write(data)
        upload.finish()

        def write() -> None:
            assert upload.data is not None
            self._capture.write_now(Raw(self._number, upload.data))

        self._capture.work(write, 0)

    def _pass_unread(self, server: Stream, header: bytes) -> str:
        """Bytes that are no message: pass them both ways until one side ends."""
        data = header
        while True:
            self._raw(self._capture.upload(size=len(data)), data)
            try:
                server.send(data)
            except Ended:
                return "server"
            while True:
                ready = readable(self._client.sock, server.sock, timeout=None)
                if server.sock in ready:
                    try:
                        answer = server.some(BODY)
                    except Ended:
                        return "server"
                    if self._to_client(answer):
                        return "client"
                elif self._client.sock in ready or self._client.waiting:
                    break
            try:
                data = self._client.some(BODY)
            except Ended:
                return "client"


def _plausible(wire: WireCommand, length: int) -> bool:
    """Whether a declared length can be read as the command."""
    exact = wire.request.complete
    if exact and not wire.counted:
        return length == wire.request.size
    return wire.request.size <= length and (wire.body or length <= MAX_HEAD)
