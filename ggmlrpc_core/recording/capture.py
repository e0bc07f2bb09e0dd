"""What a recorder knows beside the bytes: the virtual buffers, and the thread that writes the events in their order.

Connections hand over work in the order in which things happened; one thread does it, so that hashing, comparing with
generated weights and writing cost the recorded client little. Knows no socket.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ggmlrpc_core.errors import GgmlRpcError, RecordingError
from ggmlrpc_core.recording.compare import VALUE_SIZES
from ggmlrpc_core.recording.data import Data, DataWriter
from ggmlrpc_core.recording.file import COMPUTED, Head, RecordingWriter
from ggmlrpc_core.recording.generate import Generated, generated_weight
from ggmlrpc_core.recording.messages import Close, Event, Open
from ggmlrpc_core.recording.space import Rebinder, Space
from ggmlrpc_core.recording.tensors import Endpoints
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import Dialect, WireCommand
from ggmlrpc_core.wire.tensors import TYPE_BY_ID, TensorRecord

MAX_HELD = 64 << 20
"""Bytes that wait to be written; above, the recorded client waits too."""

MAX_HASHES = 1 << 16
"""Uploads whose hash is remembered, to know what a later hit means."""


@dataclass(frozen=True)
class Options:
    """How to record.

    Attributes:
        dialect: of the servers; None to learn it from HELLO.
        weights: seed of the synthetic model that the client loads; what fits is written as generated.
        memory: bytes of device memory that the client is told; None for the truth.
        tolerance, privacy, about: of the head.
    """

    dialect: Dialect | None = None
    weights: str | None = None
    memory: int | None = None
    tolerance: Mapping[str, float] = field(default_factory=lambda: dict(COMPUTED))
    privacy: str = "unscrubbed"
    about: Mapping[str, str] = field(default_factory=dict)


class Capture:
    """One recording that is being made.

    Args:
        path: its folder.
        options: how to record.
        endpoints: in names of tensors; see tensors.py.
        servers: how many there are.

    Attributes:
        lock: held while a buffer gets its number and its event its place.
        rebinder: the clients' handles and addresses to the servers'.
        failure: what ended the writing, None while it goes on.
        uploaded: bytes of data that clients have sent so far.
    """

    def __init__(
        self,
        path: Path,
        options: Options,
        *,
        endpoints: Endpoints,
        servers: int = 1,
    ) -> None:
        self.options = options
        self.lock = threading.RLock()
        self.space = Space()
        self.rebinder = Rebinder(self.space)
        self.dialect = options.dialect
        self.failure: Exception | None = None
        self.uploaded = 0
        self._path, self._servers = path, servers
        self._endpoints = endpoints
        self._writer: RecordingWriter | None = None
        self._computed: set[int] = set()
        self._hashes: OrderedDict[int, Data] = OrderedDict()
        self._waiting: deque[tuple[Callable[[], None], int]] = deque()
        self._held = 0
        self._changed = threading.Condition()
        self._ended = False
        self._connections = 0
        path.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="ggrec-writer", daemon=True)
        self._thread.start()

    # --- from the connections

    def learn(self, dialect: Dialect) -> None:
        """What HELLO of a server said.

        Raises:
            RecordingError: another server of the same recording speaks another version.
        """
        with self.lock:
            if self.dialect is None:
                self.dialect = dialect
            elif self.dialect.version != dialect.version:
                raise RecordingError(
                    "HELLO",
                    "server version",
                    dialect.version,
                    f"{self.dialect.version}, of the recording",
                )

    def next_connection(self) -> int:
        """A number for a connection."""
        with self.lock:
            self._connections += 1
            return self._connections

    def event(self, event: Event) -> None:
        """An event happened."""
        self.work(lambda: self._write(event), 0)

    def work(self, do: Callable[[], None], size: int) -> None:
        """Let the writer do something, after all that came before.

        Raises:
            RecordingError: the recording cannot be written any more.
        """
        with self._changed:
            while self._held > MAX_HELD and self.failure is None:
                self._changed.wait()
            if self.failure is not None:
                reason = str(self.failure)
                raise RecordingError(
                    str(self._path), "recording", reason, "written"
                ) from self.failure
            self._waiting.append((do, size))
            self._held += size
            self._changed.notify_all()

    def upload(self, *, size: int, guess: Generated | None = None, skip: int = 0) -> Upload:
        """A place for data that comes in pieces."""
        return Upload(self, self._path, size=size, guess=guess, skip=skip)

    def guess(self, tensor: TensorRecord) -> Generated | None:
        """The synthetic weight that a tensor may be."""
        if self.options.weights is None or tensor.ggml_type is None:
            return None
        name = tensor.text_name
        kind = tensor.ggml_type.name
        return generated_weight(self.options.weights, name, ggml_type=kind, ne0=tensor.ne[0])

    def computes(self, dialect: Dialect, wire: WireCommand, payload: bytes) -> None:
        """A graph writes to buffers."""
        try:
            rows = codec.decode_graph(dialect, wire, payload)["tensors"]
        except GgmlRpcError:  # not a graph: the server will say so
            return
        with self.lock:
            self._computed.update(np.unique(rows["buffer"][rows["op"] != 0]).tolist())

    def copies(self, source: int, target: int) -> None:
        """One buffer got bytes of another."""
        with self.lock:
            if source in self._computed:
                self._computed.add(target)

    def tolerance(self, tensor: TensorRecord) -> str:
        """How an answer with a tensor's data is compared."""
        kind = TYPE_BY_ID.get(tensor.type)
        floats = kind is not None and kind.name in VALUE_SIZES
        return "computed" if floats and tensor.buffer in self._computed else "exact"

    def close(self) -> tuple[int, int]:
        """Write what waits and the end; (events, connections).

        Raises:
            RecordingError: it could not be written.
        """
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()
        if self.failure is not None:
            reason = str(self.failure)
            raise RecordingError(str(self._path), "recording", reason, "written") from self.failure
        if self._writer is None:
            return 0, self._connections
        self._writer.close()
        return self._writer.n_events, self._connections

    # --- in the writer's thread

    def remember(self, digest: int, data: Data) -> None:
        """What a hash stands for."""
        self._hashes[digest] = data
        if len(self._hashes) > MAX_HASHES:
            self._hashes.popitem(last=False)

    def known(self, digest: int) -> Data | None:
        """The upload of a hash; None when there was none."""
        return self._hashes.get(digest)

    def _write(self, event: Event) -> None:
        if self._writer is None:
            if self.dialect is None:
                assert isinstance(event, Open | Close)  # a connection without a word
                return
            head = Head(
                self.dialect,
                self._servers,
                tolerance=self.options.tolerance,
                privacy=self.options.privacy,
                about=self.options.about,
            )
            self._writer = RecordingWriter(self._path, head, endpoints=self._endpoints)
        self._writer.write(event)

    def write_now(self, event: Event) -> None:
        """For work(): write an event that could be made only now."""
        self._write(event)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._flush()
                    self._changed.wait()
                if not self._waiting:
                    return
                do, size = self._waiting.popleft()
            try:
                do()
            except Exception as exc:
                with self._changed:
                    self.failure = exc
                    self._waiting.clear()
                    self._changed.notify_all()
                return
            with self._changed:
                self._held -= size
                self._changed.notify_all()

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()


class Upload:
    """Data on its way into a recording; `data` is there for work that comes after finish()."""

    def __init__(
        self, capture: Capture, root: Path, *, size: int, guess: Generated | None, skip: int
    ) -> None:
        self._capture = capture
        self._writer = DataWriter(root, size=size, guess=guess, skip=skip)
        self.data: Data | None = None

    def write(self, piece: bytes) -> None:
        """More bytes, which nobody changes any more."""
        self._capture.work(lambda: self._writer.write(piece), len(piece))

    def finish(self) -> None:
        """That was all."""
        self._capture.work(self._end, 0)

    def drop(self) -> None:
        """It is of no use: its end never came."""
        self._capture.work(self._writer.drop, 0)

    def _end(self) -> None:
        self.data = self._writer.finish()
