"""A recording as a file: its head, its events in order, its end.

    {"ggrec":1,"dialect":"7.0.0","servers":1,...}     the head
    ...                                               events, see messages.py
    {"end":{"events":186,"blake2b":"..."}}            the end; absent when the recorder was stopped hard

Reading and writing are one pass; nothing needs the whole file. Source of the format: docs/reference/ggrec.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ggmlrpc_core.errors import LocalProtocolError, RecordingError
from ggmlrpc_core.recording.blobs import (
    LINES_NAME,
    Container,
    content_hash,
    open_container,
)
from ggmlrpc_core.recording.compare import check_tolerance
from ggmlrpc_core.recording.data import Data, DataWriter
from ggmlrpc_core.recording.graphs import MAX_TENSOR_LINE
from ggmlrpc_core.recording.lines import Fields, Line, dumps, loads, read_lines
from ggmlrpc_core.recording.messages import Event, LineReader, LineWriter, Message
from ggmlrpc_core.recording.space import MadeUp, Pointers, Space
from ggmlrpc_core.recording.tensors import Endpoints, TensorLines
from ggmlrpc_core.wire.dialects import Dialect, dialect

FORMAT = 1
ALIGNMENT = 512
"""Alignment that a recorded client is told: what it lays out then fits every server with a smaller one."""

PRIVACY = ("unscrubbed", "scrubbed", "synthetic")
COMPUTED = {"nmse": 1e-3}
"""Tolerance of what a graph computed, where a recording says nothing else."""


@dataclass(frozen=True)
class Head:
    """What a recording says about itself.

    Attributes:
        dialect: what its messages are written in.
        servers: how many servers its clients used.
        alignment: what the clients were told, bytes.
        tolerance: of answers that are marked "computed".
        privacy: "unscrubbed", "scrubbed" or "synthetic" (no bytes of anybody's model).
        about: free text by key: client, server, note, tool.
    """

    dialect: Dialect
    servers: int = 1
    alignment: int = ALIGNMENT
    tolerance: Mapping[str, float] = field(default_factory=lambda: dict(COMPUTED))
    privacy: str = "unscrubbed"
    about: Mapping[str, str] = field(default_factory=dict)

    def to_line(self) -> Line:
        """As it is written."""
        return {
            "ggrec": FORMAT,
            "dialect": self.dialect.name,
            "servers": self.servers,
            "alignment": self.alignment,
            "tol": dict(self.tolerance),
            "privacy": self.privacy,
            "about": dict(self.about),
        }


def head_from_line(line: Line, *, where: str) -> Head:
    """Read a head; raises RecordingError when it is none of this format and version."""
    fields = Fields(line, where=where)
    version = fields.number("ggrec")
    if version != FORMAT:
        fields.fail("ggrec", version, f"version {FORMAT}")
    name = fields.text("dialect")
    try:
        spoken = dialect(name)
    except LocalProtocolError as exc:
        raise RecordingError(where, "dialect", repr(name), exc.expected) from exc
    about = fields.take("about", {})
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        fields.fail("about", about, "texts by key")
    head = Head(
        spoken,
        fields.number("servers", least=1, most=99, default=1),
        fields.number("alignment", least=1, most=1 << 20, default=ALIGNMENT),
        check_tolerance(fields.take("tol", COMPUTED), where=where),
        fields.text("privacy", of=PRIVACY),
        about,
    )
    fields.end()
    return head


class Recording:
    """A recording that is read; a context manager.

    Args:
        path: a folder, or a zip file.

    Attributes:
        head: what it says about itself.
        container: where its blobs are.
        complete: whether its end was read and fits; None before the last line.

    Raises:
        RecordingError: it has no head of this format.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.container: Container = open_container(path)
        self.complete: bool | None = None
        try:
            with closing(self.container.open_lines()) as stream:
                _, first = next(read_lines(stream, name=self.name), (0, b""))
            self.head = head_from_line(
                loads(first, where=f"{self.name} line 1"), where=f"{self.name} line 1"
            )
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, where it is one."""
        self.container.close()

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Number and content of every line between head and end.

        Raises:
            RecordingError: a line that is not of the format, or an end that does not fit.
        """
        self.complete = None
        digest = content_hash()
        with closing(self.container.open_lines()) as stream:
            for number, data in read_lines(stream, name=self.name):
                line = loads(data, where=f"{self.name} line {number}")
                if "end" in line:
                    self._check_end(line, digest.hexdigest(), number)
                    self.complete = True
                    return
                digest.update(data)
                if number > 1:
                    yield number, line
        self.complete = False

    def reader(
        self, *, endpoints: Endpoints | None = None, pointers: Pointers | MadeUp | None = None
    ) -> LineReader:
        """A reader of the lines, from the first on."""
        tensors = TensorLines(
            self.head.dialect, Space(), pointers=pointers or MadeUp(), endpoints=endpoints
        )
        return LineReader(self.head.dialect, tensors, container=self.container)

    def events(self, reader: LineReader | None = None) -> Iterator[tuple[int, Line, Event | None]]:
        """Line number, line and event of every line; lines inside graphs have no event.

        Raises:
            RecordingError: a line that is not of the format.
        """
        reader = reader or self.reader()
        for number, line in self.lines():
            where = f"{self.name} line {number}"
            if reader.inside_graph and len(dumps(line)) > MAX_TENSOR_LINE:
                rule = f"at most {MAX_TENSOR_LINE} bytes inside a graph"
                raise RecordingError(where, "length", len(dumps(line)), rule)
            event = reader.event(line, where=where)
            if isinstance(event, Message) and event.tolerance != "computed":
                check_tolerance(event.tolerance, where=where)
            yield number, line, event

    def _check_end(self, line: Line, digest: str, number: int) -> None:
        end = Fields(line, where=f"{self.name} line {number}").inner("end")
        end.number("events")
        said = end.text("blake2b")
        end.end()
        if said != digest:
            where = f"{self.name} line {number}"
            raise RecordingError(where, "blake2b", said, f"{digest}, of the lines before")


class LinesFile:
    """A new recording: its head, then lines as they come; valid up to the last whole line at any moment.

    Args:
        path: a folder, made, that must not hold a recording.
        head: its head.

    Raises:
        RecordingError: there is a recording already.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self.path, self.head = path, head
        self.n_events = 0
        path.mkdir(parents=True, exist_ok=True)
        place = path / LINES_NAME
        if place.exists():
            raise RecordingError(str(path), "folder", "a recording", "a new one, or another name")
        self._digest = content_hash()
        self._file: BinaryIO = place.open("xb")
        self.write_line(head.to_line())

    def store(self, data: bytes) -> Data:
        """Keep bytes, in the line or in a blob."""
        writer = DataWriter(self.path, size=len(data))
        writer.write(data)
        return writer.finish()

    def write_line(self, line: Mapping[str, Any]) -> None:
        """Add a line as it is."""
        data = dumps(line)
        self._digest.update(data)
        self._file.write(data)

    def flush(self) -> None:
        """Hand the lines to the system."""
        self._file.flush()

    def abandon(self) -> None:
        """Close without an end."""
        self._file.close()

    def close(self) -> None:
        """Write the end."""
        end = {"events": self.n_events, "blake2b": self._digest.hexdigest()}
        self._file.write(dumps({"end": end}))
        self._file.close()


class RecordingWriter(LinesFile):
    """Writes the events of a client to a new recording.

    Args:
        path, head: as for LinesFile.
        pointers: the client's pointers.
        endpoints: in names; see tensors.py.
    """

    def __init__(
        self,
        path: Path,
        head: Head,
        *,
        pointers: Pointers | MadeUp | None = None,
        endpoints: Endpoints | None = None,
    ) -> None:
        tensors = TensorLines(
            head.dialect, Space(), pointers=pointers or Pointers(), endpoints=endpoints
        )
        self._lines = LineWriter(head.dialect, tensors, store=self.store)
        super().__init__(path, head)

    def write(self, event: Event) -> None:
        """Add an event."""
        for line in self._lines.lines(event):
            self.write_line(line)
        self.n_events += 1
