"""Tensor data in a recording: written in the line, generated, one byte repeated, or in a blob.

    {"n":4,"hex":"0a000000"}                              short
    {"n":32768,"z":"eJztwTEB..."}                         compressed by zlib, in base64
    {"n":32768,"fill":0}                                  one byte, n times
    {"n":8192,"gen":"Q4_0","seed":"1/blk.0.attn_q.weight","exp":-7}
    {"n":18432,"b":"9f86d081884c7d659a2feaa0c55ad015"}    a blob

Knows no command. Source of the format: docs/reference/ggrec.md.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.blobs import (
    PACKED_UP_TO,
    PIECE,
    BlobWriter,
    Container,
    read_blob,
    store_blob,
)
from ggmlrpc_core.recording.generate import FLOATS, SCALES, Generated
from ggmlrpc_core.recording.lines import Fields, Line

MAX_DATA = 1 << 40
"""Bytes of one piece of data that a recording may claim."""

MAX_UNPACKED = 64 << 20
"""Bytes that data in a line may unpack to: it is held in memory."""

_HEX_UP_TO = 48
_LINE_UP_TO = 3072
"""Bytes of compressed data up to which it is written in the line."""

_KINDS = ("hex", "z", "fill", "gen", "b")


@dataclass(frozen=True, slots=True)
class Data:
    """Some bytes, wherever they come from; exactly one of the last five is set.

    Attributes:
        n: how many.
        raw: the bytes themselves.
        packed: compressed by zlib.
        fill: one byte that is repeated.
        gen: a stream, from `skip` on.
        blob: name of a blob.
    """

    n: int
    raw: bytes | None = None
    packed: bytes | None = None
    fill: int | None = None
    gen: Generated | None = None
    skip: int = 0
    blob: str | None = None

    def pieces(self, container: Container | None) -> Iterator[bytes]:
        """The bytes, in pieces.

        Args:
            container: where the blobs are; None when there are none.

        Raises:
            RecordingError: the recording does not hold them.
        """
        if self.raw is not None:
            yield self.raw
        elif self.fill is not None:
            for at in range(0, self.n, PIECE):
                yield bytes([self.fill]) * min(PIECE, self.n - at)
        elif self.gen is not None:
            yield from self.gen.pieces(self.n, skip=self.skip)
        elif self.packed is not None:
            yield _unpack(self.packed, self.n)
        else:
            assert self.blob is not None
            if container is None:
                raise RecordingError("data", "blob", self.blob, "data in the line")
            yield from read_blob(container, self.blob, self.n)

    def whole(self, container: Container | None, *, limit: int = MAX_UNPACKED) -> bytes:
        """All bytes at once.

        Raises:
            RecordingError: more than `limit`, or as pieces().
        """
        if self.n > limit:
            raise RecordingError("data", "n", self.n, f"at most {limit} here")
        return b"".join(self.pieces(container))

    def slice(self, n: int) -> Data:
        """The first n bytes, of data that is not a blob."""
        if self.gen is not None or self.fill is not None:
            return replace(self, n=n)
        return in_line(self.whole(None)[:n])

    def to_line(self) -> Line:
        """As it is written."""
        line: Line = {"n": self.n}
        if self.raw is not None:
            line["hex"] = self.raw.hex()
        elif self.packed is not None:
            line["z"] = base64.b64encode(self.packed).decode()
        elif self.fill is not None:
            line["fill"] = self.fill
        elif self.gen is not None:
            g = self.gen
            line |= {"gen": g.type, "seed": g.seed}
            line |= {"lo": g.lo, "hi": g.hi} if g.type in FLOATS else {"exp": g.exp}
            if self.skip:
                line["skip"] = self.skip
        else:
            line["b"] = self.blob
        return line


def data_from_line(fields: Fields) -> Data:
    """Read what to_line() wrote.

    Raises:
        RecordingError: it is not of the format.
    """
    n = fields.number("n", most=MAX_DATA)
    kinds = [kind for kind in _KINDS if kind in fields]
    if len(kinds) != 1:
        fields.fail("data", kinds, "one of " + ", ".join(_KINDS))
    kind = kinds[0]
    if kind == "fill":
        data = Data(n, fill=fields.number("fill", most=255))
    elif kind == "gen":
        data = Data(n, gen=_generated(fields), skip=fields.number("skip", most=MAX_DATA, default=0))
    elif kind == "b":
        data = Data(n, blob=fields.text("b"))
    elif kind == "hex":
        if n > _HEX_UP_TO:
            fields.fail("n", n, f"at most {_HEX_UP_TO} in hex")
        raw = fields.hexes("hex", size=n)
        if len(raw) != n:
            fields.fail("hex", f"{len(raw)} bytes", f"{n}")
        data = Data(n, raw=raw)
    else:
        if n > MAX_UNPACKED:
            fields.fail("n", n, f"at most {MAX_UNPACKED} in a line")
        try:
            data = Data(n, packed=base64.b64decode(fields.text("z"), validate=True))
        except (binascii.Error, ValueError) as exc:
            raise RecordingError(fields.where, "z", str(exc), "base64") from exc
    fields.end()
    return data


def in_line(data: bytes) -> Data:
    """Data that is written in the line, whatever its size."""
    if len(data) <= _HEX_UP_TO:
        return Data(len(data), raw=data)
    if data.count(data[0]) == len(data):
        return Data(len(data), fill=data[0])
    return Data(len(data), packed=zlib.compress(data, 9))


class DataWriter:
    """Takes the bytes of one piece of data as they come and decides how to write them.

    Args:
        root: the folder of the recording.
        size: bytes that are announced; fewer may come.
        guess: a stream that they may be.
        skip: where in that stream they begin.
    """

    def __init__(
        self, root: Path, *, size: int, guess: Generated | None = None, skip: int = 0
    ) -> None:
        self._root = root
        self._small: bytearray | None = bytearray() if size <= PACKED_UP_TO else None
        self._blob = BlobWriter(root)
        self._n = 0
        self._guess, self._skip = guess, skip
        self._wanted = guess.pieces(size, skip=skip) if guess is not None and size else None
        self._next = memoryview(b"")

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        view = memoryview(piece)
        self._n += len(view)
        if self._wanted is not None:
            self._compare(view)
        if self._small is not None:
            self._small += view
        else:
            self._blob.write(view)

    def finish(self) -> Data:
        """The data, stored."""
        if self._wanted is not None and self._n:
            self._blob.drop()
            return Data(self._n, gen=self._guess, skip=self._skip)
        if self._small is None:
            return Data(self._n, blob=self._blob.keep()) if self._n else Data(0, raw=b"")
        data = bytes(self._small)
        short = in_line(data) if data else Data(0, raw=b"")
        if short.packed is None or len(short.packed) <= _LINE_UP_TO:
            return short
        return Data(len(data), blob=store_blob(self._root, data, packed=short.packed))

    def drop(self) -> None:
        """Forget what was written."""
        self._blob.drop()

    def _compare(self, view: memoryview) -> None:
        """Forget the guess at the first byte that differs."""
        assert self._wanted is not None
        at = 0
        while at < len(view):
            if not self._next:
                self._next = memoryview(next(self._wanted, b""))
            n = min(len(self._next), len(view) - at)
            if n == 0 or self._next[:n] != view[at : at + n]:
                self._wanted = None
                return
            self._next = self._next[n:]
            at += n


def _generated(fields: Fields) -> Generated:
    kind = fields.text("gen", of=[*FLOATS, *SCALES])
    seed = fields.text("seed")
    if kind in FLOATS:
        return Generated(kind, seed, lo=_real(fields, "lo"), hi=_real(fields, "hi"))
    return Generated(kind, seed, exp=fields.number("exp", least=-14, most=11))


def _real(fields: Fields, key: str) -> float:
    value: Any = fields.take(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        fields.fail(key, value, "a number")
    return float(value)


def _unpack(packed: bytes, n: int) -> bytes:
    unpack = zlib.decompressobj()
    try:
        data = unpack.decompress(packed, n + 1)
    except zlib.error as exc:
        raise RecordingError("data", "z", str(exc), "data compressed by zlib") from exc
    if len(data) != n:
        raise RecordingError("data", "z", f"{len(data)} bytes or more", f"{n} bytes")
    return data
