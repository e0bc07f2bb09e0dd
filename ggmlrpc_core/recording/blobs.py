"""Where the bytes of a recording are: a folder, or the same folder in one zip file.

    x.ggrec/session.jsonl          the lines
    x.ggrec/blobs/ab/cdef...       data by the BLAKE2b-128 of its content; with .z: compressed by zlib

A name in a recording is a hash and never a path. What is read is checked against its hash before anybody sees it.
Knows nothing of lines.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ggmlrpc_core.errors import RecordingError

LINES_NAME = "session.jsonl"
PIECE = 1 << 20
"""Bytes handed on at once."""

PACKED_UP_TO = 1 << 20
"""Bytes up to which data is compressed when it is stored; weights do not shrink and would cost time."""

_NAME = re.compile(r"[0-9a-f]{32}")
_DIGEST = 16


def content_hash() -> hashlib.blake2b:
    """The hash that names data."""
    return hashlib.blake2b(digest_size=_DIGEST)


class Container(Protocol):
    """A recording that can be read."""

    name: str

    def open_lines(self) -> BinaryIO:
        """The lines, from the first on."""

    def open_blob(self, relative: str) -> BinaryIO | None:
        """A file below blobs/; None when there is none."""

    def close(self) -> None:
        """Close the file, where it is one."""


class Folder:
    """A recording in a folder."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.path = path

    def open_lines(self) -> BinaryIO:
        """The lines.

        Raises:
            RecordingError: the folder has none.
        """
        found = _open_plain(self.path / LINES_NAME)
        if found is None:
            raise RecordingError(self.name, LINES_NAME, "absent", "a file with the lines")
        return found

    def open_blob(self, relative: str) -> BinaryIO | None:
        """A file below blobs/; links and devices are refused."""
        blobs = self.path / "blobs"
        place = blobs / relative
        if blobs.is_symlink() or place.parent.is_symlink():
            raise RecordingError(self.name, "blobs", "a link", "a folder")
        return _open_plain(place)

    def close(self) -> None:
        """Nothing is open."""


class Zip:
    """A recording in one file."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as exc:
            raise RecordingError(self.name, "file", str(exc), "a folder or a zip file") from exc

    def open_lines(self) -> BinaryIO:
        """The lines; raises as Folder.open_lines."""
        found = self._open(LINES_NAME)
        if found is None:
            raise RecordingError(self.name, LINES_NAME, "absent", "a file with the lines")
        return found

    def open_blob(self, relative: str) -> BinaryIO | None:
        """A file below blobs/."""
        return self._open(f"blobs/{relative}")

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _open(self, member: str) -> BinaryIO | None:
        try:
            return cast(BinaryIO, self._zip.open(member))
        except KeyError:
            return None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as exc:
            raise RecordingError(self.name, member, str(exc), "a readable part of a zip") from exc


def open_container(path: Path) -> Container:
    """A recording, folder or zip file.

    Raises:
        RecordingError: it is neither.
        OSError: it is not there or cannot be read.
    """
    return Folder(path) if path.is_dir() else Zip(path)


def read_blob(container: Container, name: str, size: int) -> Iterator[bytes]:
    """The pieces of one blob, after all of it was checked.

    Args:
        container: where it is.
        name: 32 hex digits.
        size: bytes that it must have.

    Raises:
        RecordingError: no such blob, another size, or bytes that do not fit the name.
    """
    if not _NAME.fullmatch(name):
        raise RecordingError(container.name, "blob", repr(name), "32 hex digits")
    digest, got = content_hash(), 0
    for piece in _stored(container, name, size):
        digest.update(piece)
        got += len(piece)
    if got != size or digest.hexdigest() != name:
        raise RecordingError(
            container.name,
            f"blob {name}",
            f"{got} bytes with hash {digest.hexdigest()}",
            f"{size} bytes with the hash of its name",
        )
    yield from _stored(container, name, size)


def _stored(container: Container, name: str, size: int) -> Iterator[bytes]:
    """Unchecked pieces, never more than one byte above `size`."""
    relative = f"{name[:2]}/{name[2:]}"
    try:
        plain = container.open_blob(relative)
        if plain is not None:
            with plain:
                yield from _bounded(plain, size + 1)
            return
        packed = container.open_blob(f"{relative}.z")
        if packed is None:
            raise RecordingError(
                container.name, f"blob {name}", "absent", "a file of the recording"
            )
        with packed:
            yield from _unpacked(packed, size + 1)
    except (zlib.error, zipfile.BadZipFile, EOFError) as exc:
        raise RecordingError(container.name, f"blob {name}", str(exc), "readable") from exc


def _bounded(stream: BinaryIO, left: int) -> Iterator[bytes]:
    while left and (piece := stream.read(min(left, PIECE))):
        left -= len(piece)
        yield piece


def _unpacked(stream: BinaryIO, left: int) -> Iterator[bytes]:
    unpack = zlib.decompressobj()
    data = b""
    while left and not unpack.eof:
        data = unpack.unconsumed_tail or stream.read(PIECE)
        if not data:
            return
        piece = unpack.decompress(data, min(left, PIECE))
        left -= len(piece)
        if piece:
            yield piece


def _open_plain(path: Path) -> BinaryIO | None:
    """A regular file: a link, a pipe or a device in a stranger's folder is refused."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        number = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise RecordingError(str(path), "file", exc.strerror, "a plain file") from exc
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise RecordingError(str(path), "file", "a folder or a device", "a plain file")
    return os.fdopen(number, "rb")


class BlobWriter:
    """Adds one blob to a folder while its bytes come.

    Args:
        root: the folder of the recording.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "blobs"
        self._digest = content_hash()
        self._file: tempfile._TemporaryFileWrapper[bytes] | None = None

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        if self._file is None:
            self._root.mkdir(exist_ok=True)
            self._file = tempfile.NamedTemporaryFile(dir=self._root, prefix="new-", delete=False)  # noqa: SIM115
        self._digest.update(piece)
        self._file.write(piece)

    def keep(self) -> str:
        """Give the file its name; returns it."""
        name = self._digest.hexdigest()
        assert self._file is not None
        self._file.close()
        place = _place(self._root, name)
        if place is None:
            Path(self._file.name).unlink()
        else:
            os.replace(self._file.name, place)
        self._file = None
        return name

    def drop(self) -> None:
        """Forget what was written."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink()
            self._file = None


def store_blob(root: Path, data: bytes, *, packed: bytes) -> str:
    """Store data that is in memory, in its shorter form; returns the name."""
    digest = content_hash()
    digest.update(data)
    name = digest.hexdigest()
    place = _place(root / "blobs", name)
    if place is not None:
        small = len(packed) < len(data) * 9 // 10
        with _whole(place.with_name(place.name + ".z") if small else place) as file:
            file.write(packed if small else data)
    return name


def _place(root: Path, name: str) -> Path | None:
    """Where a new blob goes; None when it is there already."""
    place = root / name[:2] / name[2:]
    if place.exists() or place.with_name(place.name + ".z").exists():
        return None
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that appears when it is complete."""
    partial = path.with_name(path.name + ".new")
    with partial.open("wb") as file:
        yield file
    os.replace(partial, path)


def pack(folder: Path, target: Path) -> None:
    """Write a folder as one zip file; equal folders give equal bytes."""
    partial = target.with_name(target.name + ".new")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as out:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        for path in files:
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            info.compress_type = zipfile.ZIP_STORED if path.suffix == ".z" else zipfile.ZIP_DEFLATED
            with path.open("rb") as source, out.open(info, "w", force_zip64=True) as member:
                while piece := source.read(PIECE):
                    member.write(piece)
    os.replace(partial, target)
