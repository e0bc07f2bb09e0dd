"""The hash cache: uploads kept on disk, so that a client need not send them again.

An upload is copied to a temporary file as it is received, before any later command can change it.
A thread of the cache hashes the file and gives it its name. Every read is verified. FNV-1a is no
defence against a forger, so what came over the network is served only to addresses that sent the
same bytes, unless the cache is `shared`; files of the operator are served to all.

Source: docs/reference/protocol, hash cache.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from ggmlrpc_core.ggml.fnv import OFFSET_BASIS, fnv1a_64
from ggmlrpc_core.server.cache_files import CacheFiles, Note, check

SAVE_ABOVE = 10 * 1024 * 1024
"""Bytes above which an upload is kept when the client does not say; clients ask above it only."""
DEFAULT_MAX_SIZE = 64 * 1024**3
"""Bytes of all files that clients sent; a few large models."""
KEEP_FREE = 1024**3
"""Bytes of the disk that stay free."""
ABANDONED_AFTER = 3600.0
"""Seconds after which a temporary file belongs to a server that died."""
_CHUNK = 1 << 20


class CacheEntry:
    """One verified file, open until the `with` block ends.

    It is not mapped into memory: a stock server that shares the directory may cut a file short in
    place, and reading a mapping past the end of its file kills the process.

    Attributes:
        size: bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._before = _stamp(file)
        self._complete = True
        self.size = self._before[0]

    def __enter__(self) -> CacheEntry:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def chunks(self) -> Iterator[memoryview]:
        """All bytes, in pieces that are valid until the next is asked for."""
        self._file.seek(0)
        room = memoryview(bytearray(_CHUNK))
        while n := self._file.readinto(room):  # type: ignore[attr-defined]
            yield room[:n]
        self._file.seek(0)

    def fill(self, into: memoryview) -> None:
        """Put the next bytes into memory."""
        done = 0
        while done < len(into):
            n = self._file.readinto(into[done:])  # type: ignore[attr-defined]
            if not n:
                self._complete = False
                return
            done += n

    def intact(self) -> bool:
        """Whether what `fill` gave are the bytes that were verified."""
        return self._complete and _stamp(self._file) == self._before


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """Size and time of the last change."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


class UploadCopy:
    """Takes the bytes of one upload; a fault of the disk never hurts the upload itself."""

    def __init__(self, cache: HashCache, path: Path | None, *, size: int, peer: str) -> None:
        self._cache = cache
        self._path = path
        self._size = size
        self._peer = peer
        self._file: BinaryIO | None = None

    def __enter__(self) -> UploadCopy:
        if self._path is not None:
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self._file = open(descriptor, "wb", buffering=0)
            except OSError as exc:
                self._give_up(exc)
        return self

    def write(self, piece: memoryview) -> None:
        """Append received bytes."""
        if self._file is None:
            return
        try:
            done = 0
            while done < len(piece):
                done += self._file.write(piece[done:])
        except OSError as exc:
            self._give_up(exc)

    def __exit__(self, kind: object, exc: object, trace: object) -> None:
        if self._file is None:
            return
        self._file.close()
        assert self._path is not None
        if kind is None:
            self._cache.publish_later(self._path, size=self._size, peer=self._peer)
        else:
            self._path.unlink(missing_ok=True)

    def _give_up(self, exc: OSError) -> None:
        self._cache.report(f"hash cache: an upload is not kept: {exc}")
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class HashCache:
    """One directory of uploads.

    Args:
        directory: made with mode 0700 when it is not there.
        max_size: bytes of all files that clients sent; the least recently used go first.
        read_only: write nothing at all.
        shared: serve what one client sent to every other.
        report: is given a sentence per file that is corrupt, saved or not kept.

    Raises:
        OSError: the directory cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_size: int = DEFAULT_MAX_SIZE,
        read_only: bool = False,
        shared: bool = False,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.directory = directory
        self.report = report
        self._max_size = max_size
        self._read_only = read_only
        self._shared = shared
        self._files = CacheFiles(directory)
        self._lock = threading.Lock()
        self._backlog = 0  # bytes of temporary files that wait for their name
        self._queue: SimpleQueue[tuple[Path | threading.Event, int, str] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing = False
        if not read_only:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._files.remove_abandoned(time.time() - ABANDONED_AFTER)

    def wants(self, size: int) -> bool:
        """Whether to keep an upload of this many bytes when the client does not say."""
        return size > SAVE_ABOVE

    def writer(self, size: int, peer: str) -> UploadCopy:
        """Takes a copy of an upload; one that is not to be kept costs nothing."""
        with self._lock:
            keep = not (self._read_only or self._closing)
            keep = keep and self._backlog + size <= self._max_size
        if keep and shutil.disk_usage(self.directory).free < size + KEEP_FREE:
            self.report(f"hash cache: an upload of {size} bytes is not kept: the disk is full")
            keep = False
        path = self._files.temporary() if keep else None
        return UploadCopy(self, path, size=size, peer=peer)

    def find(self, digest: int, peer: str) -> CacheEntry | None:
        """The bytes with this FNV-1a, verified; None when there are none for this client."""
        name = f"{digest:016x}"
        try:
            note = self._files.read_note(name)
            if note and note.peers is not None and not (self._shared or peer in note.peers):
                return None
            file = open(self._files.data_path(name), "rb", buffering=0)  # noqa: SIM115
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            self.report(f"hash cache: {name} is not served: {exc}")
            return None
        entry = CacheEntry(file)
        try:
            if self._verify(name, entry, note):
                return entry
        except OSError as exc:
            self.report(f"hash cache: {name} is not served: {exc}")
        file.close()
        return None

    def flush(self) -> None:
        """Wait until every upload so far has its name."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put((done, 0, ""))
            done.wait()

    def close(self) -> None:
        """Finish the file at hand, drop the others, end the thread."""
        with self._lock:
            self._closing = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def publish_later(self, path: Path, *, size: int, peer: str) -> None:
        """Hash a complete temporary file and give it its name, on the cache's thread."""
        with self._lock:
            self._backlog += size
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="ggmlrpc cache", daemon=True
                )
                self._thread.start()
        self._queue.put((path, size, peer))

    # --- reading

    def _verify(self, name: str, entry: CacheEntry, note: Note | None) -> bool:
        """Whether the bytes are those that the name and the note say; removes what is corrupt."""
        found, sound = check(name, note, entry.chunks())
        if sound and note is None and not self._read_only:  # quick the next time
            self._files.write_note(name, found)
        if sound:
            if not self._read_only:
                self._files.touch(name)
        else:
            self.report(f"hash cache: {name} holds other bytes than its name says")
            if not self._read_only:
                # The note stays: a file that is being published would lose it, and a file without
                # a note counts as the operator's.
                self._files.remove_data(name)
        return sound

    # --- writing, on the thread of the cache

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            path, size, peer = item
            if isinstance(path, threading.Event):
                path.set()
                continue
            try:
                if not self._closing:
                    self._publish(path, peer)
            except (OSError, ValueError) as exc:
                self.report(f"hash cache: an upload is not kept: {exc}")
            finally:
                path.unlink(missing_ok=True)
                with self._lock:
                    self._backlog -= size

    def _publish(self, path: Path, peer: str) -> None:
        state, strong, size = OFFSET_BASIS, blake2b(), 0
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                state = fnv1a_64(chunk, state)
                strong.update(chunk)
                size += len(chunk)
        name = f"{state:016x}"
        if self._files.data_path(name).exists():
            old = self._files.read_note(name)
            if old is None or old.peers is None:
                return  # the operator's file stays as it is
            if old.blake2b == strong.hexdigest():
                self._files.write_note(name, old.with_peer(peer))
                return
        # The note goes first: between the two the old bytes do not match it and are not served.
        self._files.write_note(name, Note(strong.hexdigest(), size, frozenset({peer})))
        os.replace(path, self._files.data_path(name))
        if self._files.read_note(name) is None:  # another server evicted it just now
            self._files.remove_data(name)
            return
        self._evict(keep=name)

    def _evict(self, keep: str) -> None:
        """Remove what was used longest ago until the rest fits."""
        entries = sorted(self._files.sent())
        total = sum(size for _, _, size in entries)
        for _, name, size in entries:
            if total <= self._max_size:
                return
            if name != keep:
                self._files.remove(name)
                total -= size
