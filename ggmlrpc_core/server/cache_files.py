"""Files of the hash cache: where they are, their names, and the note beside each.

A data file is named by the hash of its bytes, 16 lower-case hex digits, as the stock server names
it. Beside it a note (same name and `.json`) holds a BLAKE2b digest of the bytes and the addresses
of the clients that sent them. A file without a note was put there by the operator or by a stock
server. Everything is written to a temporary file and renamed, so several servers can share a
directory.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from ggmlrpc_core.ggml.fnv import OFFSET_BASIS, fnv1a_64

_DATA_NAME = re.compile(r"[0-9a-f]{16}")
TEMPORARY_PREFIX = ".tmp-"


def default_directory(
    environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path:
    """The directory of the stock server, so that both find each other's files.

    Source: tools/rpc/rpc-server.cpp, fs_get_cache_directory.
    """
    if environ.get("LLAMA_CACHE"):
        return Path(environ["LLAMA_CACHE"]) / "rpc"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        base = Path(local) if local else home / "AppData" / "Local"
    elif platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(environ["XDG_CACHE_HOME"]) if environ.get("XDG_CACHE_HOME") else home / ".cache"
    return base / "llama.cpp" / "rpc"


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a data file.

    Attributes:
        blake2b: hex digest of the bytes.
        size: bytes.
        peers: addresses that sent them; None when the operator put the file there.
    """

    blake2b: str
    size: int
    peers: frozenset[str] | None

    def with_peer(self, peer: str) -> Note:
        """The same, sent by one more client."""
        return self if self.peers is None else replace(self, peers=self.peers | {peer})


def check(name: str, note: Note | None, chunks: Iterable[bytes | memoryview]) -> tuple[Note, bool]:
    """Whether bytes are those that a file's name, and its note if it has one, stand for.

    With a note BLAKE2b alone decides: the name was verified when the note was written.

    Returns:
        A note of the bytes, with the senders of `note`, and whether they are the right ones.
    """
    strong, weak, size = blake2b(), OFFSET_BASIS, 0
    for chunk in chunks:
        strong.update(chunk)
        size += len(chunk)
        if note is None:
            weak = fnv1a_64(chunk, weak)
    found = Note(strong.hexdigest(), size, note.peers if note else None)
    return found, found == note if note else size > 0 and weak == int(name, 16)


class CacheFiles:
    """The files of one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def data_path(self, name: str) -> Path:
        """The data file of a hash in hex."""
        return self.directory / name

    def _note_path(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def temporary(self) -> Path:
        """A name that nobody uses."""
        return self.directory / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"

    def read_note(self, name: str) -> Note | None:
        """The note of a file; None when there is none.

        Raises:
            ValueError: there is one that this program did not write.
        """
        try:
            text = self._note_path(name).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        try:
            values = json.loads(text)
            peers = values["peers"]
            return Note(
                blake2b=str(values["blake2b"]),
                size=int(values["size"]),
                peers=None if peers is None else frozenset(map(str, peers)),
            )
        except (KeyError, TypeError) as exc:
            raise ValueError(f"{self._note_path(name)}: unexpected content") from exc

    def write_note(self, name: str, note: Note) -> None:
        """Write or replace a note."""
        values = {
            "blake2b": note.blake2b,
            "size": note.size,
            "peers": None if note.peers is None else sorted(note.peers),
        }
        temporary = self.temporary()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            json.dump(values, file)
        os.replace(temporary, self._note_path(name))

    def used(self, name: str) -> float:
        """Time of the last use of a file that has a note, seconds since the epoch."""
        return self._note_path(name).stat().st_mtime

    def touch(self, name: str) -> None:
        """Mark as used now."""
        os.utime(self._note_path(name))

    def remove_data(self, name: str) -> None:
        """Remove a data file and leave its note; what is not there is fine."""
        self.data_path(name).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a data file and its note; what is not there is fine.

        Data that another server put there in between goes too: it must not be left without a note.
        """
        self.remove_data(name)
        self._note_path(name).unlink(missing_ok=True)
        self.remove_data(name)

    def names(self) -> list[str]:
        """The data files, in no order."""
        with os.scandir(self.directory) as entries:
            return [entry.name for entry in entries if _DATA_NAME.fullmatch(entry.name)]

    def sent(self) -> Iterator[tuple[float, str, int]]:
        """(time of last use, name, bytes) of every file that a client sent."""
        for name in self.names():
            try:
                note = self.read_note(name)
                if note is not None and note.peers is not None:
                    yield self.used(name), name, self.data_path(name).stat().st_size
            except (FileNotFoundError, ValueError):  # another server removed it, or not ours
                continue

    def remove_abandoned(self, before: float) -> None:
        """Remove temporary files last written before a time (seconds since the epoch)."""
        for path in self.directory.glob(f"{TEMPORARY_PREFIX}*"):
            try:
                if path.stat().st_mtime < before:
                    path.unlink()
            except FileNotFoundError:  # another server was quicker
                continue
