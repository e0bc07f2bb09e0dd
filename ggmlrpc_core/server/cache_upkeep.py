"""Look after a hash cache from outside: list, verify, prune and seed its files.

Works on a directory of ours and on one of the stock server, while a server uses it: files are read,
renamed into place and removed as the servers themselves do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.fnv import OFFSET_BASIS, fnv1a_64
from ggmlrpc_core.server.cache_files import CacheFiles, Note, check
from ggmlrpc_core.server.hash_cache import SAVE_ABOVE

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class CachedFile:
    """One data file.

    Attributes:
        name: the FNV-1a of its bytes, 16 hex digits.
        size: bytes.
        used: time of the last use, seconds since the epoch.
        peers: addresses that sent it; None when it is the operator's or a stock server's.
    """

    name: str
    size: int
    used: float
    peers: tuple[str, ...] | None


def list_files(directory: Path) -> list[CachedFile]:
    """The data files, the one used last first.

    Raises:
        OSError: the directory cannot be read.
    """
    files = CacheFiles(directory)
    found = []
    for name in files.names():
        try:
            status = files.data_path(name).stat()
            note = files.read_note(name)
            used = files.used(name) if note else status.st_mtime
        except FileNotFoundError:  # a server removed it just now
            continue
        except ValueError:  # a note that is not ours is no reason to hide the file
            note, used = None, status.st_mtime
        peers = None if note is None or note.peers is None else tuple(sorted(note.peers))
        found.append(CachedFile(name, status.st_size, used, peers))
    return sorted(found, key=lambda file: file.used, reverse=True)


def verify(directory: Path, name: str) -> bool | None:
    """Whether a file holds the bytes that its name stands for; None when it is gone."""
    files = CacheFiles(directory)
    try:
        with open(files.data_path(name), "rb") as file:
            chunks = iter(lambda: file.read(_CHUNK), b"")
            # The name decides, whatever a note says: it is what clients ask for.
            return check(name, None, chunks)[1]
    except FileNotFoundError:
        return None


def prune(
    directory: Path, files: Iterable[CachedFile], *, max_size: int | None, max_age: float | None
) -> Iterator[CachedFile]:
    """Remove what was used longest ago, the operator's files too; yields each removed file.

    Args:
        directory: of the cache.
        files: from `list_files`.
        max_size: bytes that may stay; None for any.
        max_age: seconds since the last use that may stay; None for any.
    """
    kept, now = 0, time.time()
    for file in files:
        kept += file.size
        old = max_age is not None and now - file.used > max_age
        if old or (max_size is not None and kept > max_size):
            kept -= file.size
            CacheFiles(directory).remove(file.name)
            yield file


@dataclass(frozen=True, slots=True)
class Seeded:
    """A tensor that is now in the cache; `new` when it was not before."""

    tensor: str
    name: str
    size: int
    new: bool


def seed(directory: Path, model: Path, *, above: int = SAVE_ABOVE) -> Iterator[Seeded]:
    """Put the tensors of a GGUF file that clients ask for by hash into a cache, as the operator's.

    Args:
        directory: made with mode 0700 when it is not there.
        model: one GGUF file; a model in several parts is seeded part by part.
        above: bytes; smaller tensors are sent whatever the cache holds.

    Raises:
        LocalProtocolError: the file is no GGUF.
        OSError: the file cannot be read or the directory not written.
    """
    from gguf import GGUFReader  # takes a moment to import

    try:
        reader = GGUFReader(model)
    except (ValueError, IndexError, KeyError) as exc:
        raise LocalProtocolError("cache seed", str(model), str(exc), "a GGUF file") from exc
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = CacheFiles(directory)
    for tensor in reader.tensors:
        if tensor.n_bytes > above:
            data = tensor.data.reshape(-1).view("u1").data
            yield _put(files, tensor.name, data)


def _put(files: CacheFiles, tensor: str, data: memoryview) -> Seeded:
    """Write one file under its name, and a note that makes it the operator's."""
    weak, strong = OFFSET_BASIS, blake2b()
    for start in range(0, len(data), _CHUNK):
        weak = fnv1a_64(data[start : start + _CHUNK], weak)
        strong.update(data[start : start + _CHUNK])
    name, note = f"{weak:016x}", Note(strong.hexdigest(), len(data), None)
    try:
        old = files.read_note(name)
    except ValueError:
        old = None
    path = files.data_path(name)
    new = not (path.exists() and path.stat().st_size == len(data) and (old is None or old == note))
    if new:
        temporary = files.temporary()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
            files.write_note(name, note)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return Seeded(tensor, name, len(data), new)
