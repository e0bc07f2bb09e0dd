"""Replays a recording against servers: their own handles and addresses in, their answers judged.

One thread, in the order of the recording. A server that closes, stays silent or answers wrongly is a fault of the
report; only what is wrong with the recording itself is an exception.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import ConnectionLost
from ggmlrpc_core.recording.compare import Comparison
from ggmlrpc_core.recording.data import Data, DataWriter
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.messages import Close, Event, LineReader, Message, Open, Raw
from ggmlrpc_core.recording.replies import Replies
from ggmlrpc_core.recording.report import Check, Report
from ggmlrpc_core.recording.rewrite import to_server
from ggmlrpc_core.recording.sockets import Ended, Stream, dial
from ggmlrpc_core.recording.space import Rebinder
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import WireCommand
from ggmlrpc_core.wire.tensors import TYPE_BY_ID, TensorRecord

_HEADER = struct.Struct("<BQ")
_LENGTH = struct.Struct("<Q")
DEFAULT_TIMEOUT = 60.0
"""Seconds without a byte before a server counts as silent."""
MAX_REPLY = 1 << 20
_BARRIER = "GET_ALIGNMENT"
"""Asked before a client leaves after commands without answers: its answer says that the server took them."""


class _Open:
    """A connection that is open on both sides.

    Attributes:
        unanswered: commands since the last answer, for the message when the connection is lost.
        skip_upload: the server has the data of the next upload.
        whole: everything that was sent is a whole message.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.unanswered: list[str] = []
        self.skip_upload = False
        self.whole = True


class Player:
    """A replay that is going on.

    Args:
        recording: what to replay.
        targets: a server for each that was recorded; the last one stands for those that are missing.
        timeout: seconds of silence.
    """

    def __init__(
        self, recording: Recording, targets: Sequence[Endpoint], *, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.recording = recording
        self.report = Report(recording.name, ", ".join(map(str, targets)))
        self._targets = list(targets)
        self._timeout = timeout
        self._dialect = recording.head.dialect
        self._reader = recording.reader(endpoints=_Targets(self._targets))
        self._rebinder = Rebinder(self._reader.space)
        self._replies = Replies(self._dialect, self._rebinder, alignment=recording.head.alignment)
        self._connections: dict[int, _Open] = {}
        self._lost: set[int] = set()

    def play(self) -> Report:
        """Replay all of it.

        Raises:
            RecordingError: the recording breaks its format.
        """
        try:
            for number, _, event in self.recording.events(self._reader):
                if event is not None:
                    self.step(number, event)
        finally:
            self.close()
        return self.report

    @property
    def reader(self) -> LineReader:
        """The reader whose events step() takes."""
        return self._reader

    def step(self, line: int, event: Event, *, keep: DataWriter | None = None) -> Check | None:
        """Replay one event.

        Args:
            line: its number.
            event: from `reader`, in order.
            keep: takes the data of a GET_TENSOR.

        Returns:
            What was found; None when its connection was lost before.
        """
        conn = event.conn
        if conn in self._lost:
            self.report.unsent += not isinstance(event, Close)
            return None
        name = {Open: "open", Close: "close", Raw: "raw"}.get(type(event), "")
        check = Check(line, conn, name or event.command)  # type: ignore[union-attr]
        try:
            check = self._step(check, event, keep)
        except Ended:
            check = self._lose(check, "closed by the server")
        except TimeoutError:
            check = self._lose(check, f"silent for {self._timeout:g} seconds")
        except ConnectionLost as exc:
            self._lost.add(conn)
            check = replace(check, fault=f"server is {exc.got}, expected one that listens")
        self.report.checks.append(check)
        return check

    def reads(self, message: Message) -> bool:
        """Whether a message is answered by data."""
        return self._dialect.by_name[message.command].reply_body

    def size_of(self, message: Message) -> int:
        """Bytes that a message asks for."""
        wire = self._dialect.by_name[message.command]
        return int(codec.decode_head(self._dialect, wire, message.payload)["size"])

    def close(self) -> None:
        """Close what is open."""
        for connection in self._connections.values():
            connection.stream.close()
        self._connections.clear()
        self.report.complete = self.recording.complete

    # --- inside

    def _target(self, number: int) -> Endpoint:
        return _Targets(self._targets).of(number)

    def _step(self, check: Check, event: Event, keep: DataWriter | None) -> Check:
        if isinstance(event, Open):
            self._connections[event.conn] = _Open(dial(self._target(event.server), self._timeout))
            return check
        connection = self._connections[event.conn]
        if isinstance(event, Close):
            return self._leave(check, connection, event.by)
        if isinstance(event, Raw):
            connection.whole = False
            self._send_data(connection, event.data)
            return check
        return self._message(check, connection, event, keep)

    def _message(
        self, check: Check, connection: _Open, m: Message, keep: DataWriter | None
    ) -> Check:
        wire = self._dialect.by_name[m.command]
        if wire.body and connection.skip_upload:
            connection.skip_upload = False
            return check
        self._send(connection, wire, m.payload, m.data, m.length)
        if wire.reply is None:
            connection.unanswered.append(m.command)
            return check
        if m.reply is None:
            return check  # the recorded server closed, or the client did not wait
        if wire.reply_body:
            return self._compare(check, connection, wire, m, keep)
        reply = self._receive(connection)
        fault = self._replies.fault(wire, m, reply)
        if not fault and wire.name == "SET_TENSOR_HASH":
            fault = self._after_hash(connection, m, hit=reply == b"\x01")
        elif not fault and wire.name == "COPY_TENSOR" and reply != m.reply:
            self._copy_by_hand(connection, m, done=reply == b"\x01")
        return replace(check, fault=fault)

    def _send(
        self,
        connection: _Open,
        wire: WireCommand,
        payload: bytes,
        data: Data | None = None,
        length: int | None = None,
    ) -> None:
        sent = bytearray(payload)
        to_server(self._dialect, wire, sent, self._rebinder)
        size = len(sent) + (data.n if data else 0)
        connection.stream.send(_HEADER.pack(wire.number, size if length is None else length) + sent)
        if length is not None and length != size:
            connection.whole = False
        if data is not None:
            self._send_data(connection, data)

    def _send_data(self, connection: _Open, data: Data) -> None:
        for piece in data.pieces(self.recording.container):
            connection.stream.send(piece)

    def _receive(self, connection: _Open) -> bytes:
        """A fixed answer."""
        (size,) = _LENGTH.unpack(connection.stream.exactly(_LENGTH.size))
        reply = connection.stream.exactly(min(size, MAX_REPLY))
        connection.unanswered.clear()
        return reply

    def _compare(
        self,
        check: Check,
        connection: _Open,
        wire: WireCommand,
        m: Message,
        keep: DataWriter | None,
    ) -> Check:
        """Receive data and compare it with what is expected, piece by piece."""
        fields = codec.decode_head(self._dialect, wire, m.payload)
        (size,) = _LENGTH.unpack(connection.stream.exactly(_LENGTH.size))
        connection.unanswered.clear()
        if size != fields["size"]:
            return self._lose(
                check, f"reply_size is {size} bytes, expected {fields['size']}", raw=True
            )
        comparison = self._comparison(m, fields["tensor"])
        left = size
        while left:
            piece = connection.stream.some(left)
            left -= len(piece)
            if comparison is not None:
                comparison.feed(piece)
            if keep is not None:
                keep.write(piece)
        if comparison is None:
            return check
        found = comparison.result()
        return replace(check, fault=found.fault, equal=found.equal, nmse=found.nmse)

    def _comparison(self, m: Message, tensor: TensorRecord) -> Comparison | None:
        if m.answer is None:
            return None
        computed = m.tolerance == "computed"
        kind = TYPE_BY_ID.get(tensor.type)
        return Comparison(
            m.answer.pieces(self.recording.container),
            tolerance=self.recording.head.tolerance if computed else m.tolerance,
            ggml_type=kind.name if kind is not None else "",
        )

    def _after_hash(self, connection: _Open, m: Message, *, hit: bool) -> str:
        """Upload what the server lacks, or leave out what it has; as a client does."""
        recorded_hit = m.reply == b"\x01"
        if hit:
            connection.skip_upload = not recorded_hit
        elif recorded_hit:
            if m.known is None:
                return "the server lacks data that the recorded one had, and the recording has none"
            fields = codec.decode_head(self._dialect, self._dialect.by_name[m.command], m.payload)
            self._upload(connection, fields["tensor"], fields["offset"], m.known)
        return ""

    def _copy_by_hand(self, connection: _Open, m: Message, *, done: bool) -> None:
        """A server may decline a COPY_TENSOR; a client then reads and writes."""
        if done:
            return  # what the recorded client does by hand comes next and does no harm
        fields = codec.decode_head(self._dialect, self._dialect.by_name[m.command], m.payload)
        source, target = fields["src"], fields["dst"]
        kind = source.ggml_type
        size = kind.row_size(source.ne[0]) * source.ne[1] * source.ne[2] * source.ne[3]
        wire = self._dialect.by_name["GET_TENSOR"]
        asked = codec.encode_request(
            self._dialect, wire, {"tensor": source, "offset": 0, "size": size}
        )
        self._send(connection, wire, asked)
        (got,) = _LENGTH.unpack(connection.stream.exactly(_LENGTH.size))
        data = connection.stream.exactly(min(got, size))
        self._upload(connection, target, 0, Data(len(data), raw=data))

    def _upload(self, connection: _Open, tensor: TensorRecord, offset: int, data: Data) -> None:
        wire = self._dialect.by_name["SET_TENSOR"]
        fields = {"tensor": tensor, "offset": offset, "cache_flag": 1}
        self._send(connection, wire, codec.encode_request(self._dialect, wire, fields), data)
        if wire.reply is not None:
            self._receive(connection)

    def _leave(self, check: Check, connection: _Open, by: str) -> Check:
        if by == "server":
            try:
                data = connection.stream.some(1)
                fault = f"it answered {data.hex()}, expected it to close"
            except Ended:
                fault = ""
            except TimeoutError:
                fault = f"it is open after {self._timeout:g} seconds, expected it to close"
            return self._left(replace(check, fault=fault), connection)
        if connection.unanswered and connection.whole and by == "client":
            wire = self._dialect.by_name[_BARRIER]
            payload = codec.encode_request(self._dialect, wire, {"device": 0})
            self._send(connection, wire, payload)
            self._receive(connection)
        return self._left(check, connection)

    def _left(self, check: Check, connection: _Open) -> Check:
        connection.stream.close()
        del self._connections[check.conn]
        return check

    def _lose(self, check: Check, what: str, *, raw: bool = False) -> Check:
        """The connection is of no use any more."""
        connection = self._connections.pop(check.conn)
        connection.stream.close()
        self._lost.add(check.conn)
        if raw:
            return replace(check, fault=what)
        before = ", ".join(connection.unanswered[-4:])
        context = f" [not answered before: {before}]" if before else ""
        return replace(check, fault=f"connection is {what}, expected an answer{context}")


class _Targets:
    """Endpoints by number; the last one stands for those that are missing."""

    def __init__(self, targets: Sequence[Endpoint]) -> None:
        self._targets = targets

    def of(self, number: int) -> Endpoint:
        """The server of a number."""
        return self._targets[min(number, len(self._targets)) - 1]

    def number(self, text: str) -> int:
        """Nothing is written here."""
        return 0

    def text(self, number: int) -> str:
        """What a client of that server would write."""
        return str(self.of(number))


def replay(
    recording: Recording, targets: Sequence[Endpoint], *, timeout: float = DEFAULT_TIMEOUT
) -> Report:
    """Replay a recording; see Player.

    Raises:
        RecordingError: the recording breaks its format.
    """
    return Player(recording, targets, timeout=timeout).play()
