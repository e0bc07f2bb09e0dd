"""A recording made from another one, line by line: `scrub` and `complete` are such changes.

The new recording is a folder, or one zip file when its name ends in .zip. Knows no socket.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.blobs import pack
from ggmlrpc_core.recording.data import DataWriter, data_from_line
from ggmlrpc_core.recording.file import Head, LinesFile, Recording
from ggmlrpc_core.recording.lines import Fields, Line

DATA_KEYS = ("data", "of", "expect", "raw", "payload")


@contextmanager
def new_recording(path: Path, head: Head) -> Iterator[LinesFile]:
    """A recording that is there when the block ends without an error, and not at all otherwise.

    Raises:
        RecordingError: there is something of that name.
    """
    if path.exists():
        raise RecordingError(str(path), "file", "there already", "a name that is free")
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        file = LinesFile(folder, head)
        try:
            yield file
        except BaseException:
            file.abandon()
            raise
        file.close()
        if path.suffix == ".zip":
            pack(folder, path)
        else:
            folder.chmod(0o755)
            folder.rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def adopt(line: Line, source: Recording, target: LinesFile) -> None:
    """Copy the blobs that a line names to the new recording."""
    for key in DATA_KEYS:
        value = line.get(key)
        if isinstance(value, dict) and "b" in value:
            line[key] = _copied(value, source, target)


def _copied(value: Line, source: Recording, target: LinesFile) -> Line:
    data = data_from_line(Fields(value, where=source.name))
    writer = DataWriter(target.path, size=data.n)
    for piece in data.pieces(source.container):
        writer.write(piece)
    return writer.finish().to_line()
