"""All mutants by name, and the one that is no mutant. Each is a target like any other, in this process."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.mutants import devices
from conformance.mutants.credulous import Credulous
from conformance.mutants.devices import LyingDevice
from conformance.mutants.proxy import Die, Exchange, Hang, Lie, Proxy
from ggmlrpc_conformance.target import Target

from ggmlrpc_core.server.hash_cache import HashCache
from ggmlrpc_core.server.server import Server
from ggmlrpc_core.wire.dialects import Dialect

MIB = 1 << 20
N_DEVICES = 2


@dataclass(frozen=True)
class Mutant:
    """A server with one thing wrong.

    Attributes:
        device: makes its device.
        lie: about messages; None for an honest connection.
        credulous: it believes everything, and the other two mean nothing.
    """

    device: Callable[[], LyingDevice] = LyingDevice
    lie: Lie | None = None
    credulous: bool = False


class MutantTarget(Target):
    """A mutant in this process, which the suite may restart."""

    def __init__(self, mutant: Mutant, dialect: Dialect) -> None:
        super().__init__("127.0.0.1:0")
        self._mutant, self._spoken = mutant, dialect
        self._server: Server | None = None
        self._front: Proxy | Credulous | None = None
        self._devices: list[LyingDevice] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    owned = True  # type: ignore[assignment]

    def ready(self) -> None:
        """Start when it does not run."""
        if self._server is None and self._front is None:
            self.start()

    def start(self) -> None:
        """Start server and proxy."""
        if self._mutant.credulous:
            self._front = Credulous(self._spoken)
            self._address = self._front.address
            return
        self._devices = [self._mutant.device() for _ in range(N_DEVICES)]
        self._folder = tempfile.TemporaryDirectory()
        openers = [lambda device=device: device for device in self._devices]
        self._server = Server(
            openers,
            endpoint="127.0.0.1:0",
            dialect=self._spoken,
            cache=HashCache(Path(self._folder.name)),
        )
        self._server.start()
        self._address = (self._server.endpoint.host, self._server.endpoint.port)
        if self._mutant.lie is not None:
            self._front = Proxy(self._address, self._spoken, self._mutant.lie)
            self._address = self._front.address

    def stop(self) -> None:
        """End both."""
        if self._front is not None:
            self._front.close()
        if self._server is not None:
            self._server.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._front = self._server = None

    def ended(self) -> bool:
        """The proxy has died."""
        return self._front is not None and self._front.dead

    def rss(self) -> int | None:
        """A model of memory: what the device has given out, and something for each connection that leaks."""
        kept = self._front.n_kept if isinstance(self._front, Proxy) else 0
        figures = [device.memory() for device in self._devices]
        return sum(total - free for free, total in figures) + kept * MIB


# --- lies about messages


def _only(*names: str) -> Callable[[Exchange], bool]:
    return lambda x: x.command.name in names


def _swallow(*names: str) -> Lie:
    """These commands do nothing."""
    hit = _only(*names)
    return Lie(request=lambda x: None if hit(x) else x.payload)


def _framed(payload: bytes) -> bytes:
    return struct.pack("<Q", len(payload)) + payload


def _answers(name: str, change: Callable[[bytes], bytes]) -> Lie:
    """The answer to one command is changed; its length is right."""
    return Lie(answer=lambda x, body: _framed(change(body) if x.command.name == name else body))


def _u64(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:at] + struct.pack("<Q", value) + body[at + 8 :]


def _flip_last(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body


def _silent_after(name: str) -> Lie:
    """Nothing is answered after a command."""

    def request(x: Exchange) -> bytes:
        if name in x.seen:
            raise Hang
        return x.payload

    return Lie(request=request)


def _dies_at(name: str) -> Lie:
    """The server ends at a command."""

    def request(x: Exchange) -> bytes:
        if x.command.name == name:
            raise Die
        return x.payload

    return Lie(request=request)


def _missing(name: str) -> Lie:
    """One command is not answered."""
    return Lie(answer=lambda x, body: None if x.command.name == name else _framed(body))


def _longer(name: str) -> Lie:
    """One answer is a byte too long."""
    return Lie(answer=lambda x, body: _framed(body + b"\0" if x.command.name == name else body))


class _Swapped:
    """The two last bases are given out for each other."""

    def __init__(self) -> None:
        self.first = b""

    def __call__(self, x: Exchange, body: bytes) -> bytes:
        if x.command.name != "BUFFER_GET_BASE":
            return _framed(body)
        if not self.first:
            self.first = body
        return _framed(self.first)


def _shifted_set(x: Exchange) -> bytes:
    """SET_TENSOR writes one byte further."""
    if x.command.name != "SET_TENSOR":
        return x.payload
    at = x.command.request.size - 8
    offset = struct.unpack_from("<Q", x.payload, at)[0]
    return x.payload[:at] + struct.pack("<Q", offset + 1) + x.payload[at + 8 :]


def _clear_to_zero(x: Exchange) -> bytes:
    return x.payload[:-1] + b"\0" if x.command.name == "BUFFER_CLEAR" else x.payload


def _granted(body: bytes) -> bytes:
    """An allocation that failed is said to have worked."""
    return body if any(body) else struct.pack("<QQ", 77, (1 << 64) - 1)


def _odd(body: bytes) -> bytes:
    """A base one byte further."""
    return struct.pack("<Q", struct.unpack("<Q", body)[0] + 1)


COPY_LIE = Lie(
    request=lambda x: None if x.command.name == "COPY_TENSOR" else x.payload,
    made_up=lambda x: b"\1",
)

ANSWERED = (
    "ALLOC_BUFFER", "GET_ALIGNMENT", "GET_MAX_SIZE", "BUFFER_GET_BASE", "SET_TENSOR_HASH", "GET_TENSOR",
    "COPY_TENSOR", "GET_DEVICE_MEMORY", "GET_ALLOC_SIZE", "HELLO", "DEVICE_COUNT",
)  # fmt: skip
SILENT = (
    "FREE_BUFFER", "BUFFER_CLEAR", "SET_TENSOR", "GRAPH_COMPUTE", "GRAPH_RECOMPUTE", "INIT_TENSOR", "MEMSET_TENSOR",
)  # fmt: skip

HONEST = Mutant()

MUTANTS: Mapping[str, Mutant] = {
    # what ops store
    "scaled results": Mutant(lambda: LyingDevice(change=devices.scaled)),
    "one element wrong": Mutant(lambda: LyingDevice(change=devices.first_element)),
    "last row missing": Mutant(lambda: LyingDevice(change=devices.last_row)),
    "zeros": Mutant(lambda: LyingDevice(change=devices.zeros)),
    "NaN": Mutant(lambda: LyingDevice(change=devices.nans)),
    "nothing computed": Mutant(lambda: LyingDevice(idle=True)),
    "writes behind results": Mutant(lambda: LyingDevice(overrun=True)),
    "writes into sources": Mutant(lambda: LyingDevice(spoils_source=True)),
    "nodes backwards": Mutant(lambda: LyingDevice(backwards=True)),
    "dirty buffers": Mutant(lambda: LyingDevice(dirty=True)),
    # what is refused
    "believes everything": Mutant(credulous=True),
    "dies with faults": Mutant(lie=Lie(dies_with_faults=True)),
    "never closes": Mutant(lie=Lie(never_closes=True)),
    "dies with clients": Mutant(lie=Lie(dies_with_clients=True)),
    # how many, how long
    "one at a time": Mutant(lie=Lie(one_at_a_time=True)),
    "connections leak": Mutant(lie=Lie(keeps_connections=True)),
    "pieces break": Mutant(lie=Lie(pauses_break=True)),
    # what is stored
    "swapped buffers": Mutant(lie=Lie(answer=_Swapped())),
    "last byte wrong": Mutant(lie=_answers("GET_TENSOR", _flip_last)),
    "writes one byte further": Mutant(lie=Lie(request=_shifted_set)),
    "clears to zero": Mutant(lie=Lie(request=_clear_to_zero)),
    "free does nothing": Mutant(lie=_swallow("FREE_BUFFER")),
    "clear does nothing": Mutant(lie=_swallow("BUFFER_CLEAR")),
    "upload does nothing": Mutant(lie=_swallow("SET_TENSOR")),
    "memset does nothing": Mutant(lie=_swallow("MEMSET_TENSOR")),
    "graph does nothing": Mutant(lie=_swallow("GRAPH_COMPUTE")),
    "recompute does nothing": Mutant(lie=_swallow("GRAPH_RECOMPUTE")),
    "copy says 1 and does nothing": Mutant(lie=COPY_LIE),
    # what is answered
    "alignment 48": Mutant(lie=_answers("GET_ALIGNMENT", _u64(0, 48))),
    "largest size 0": Mutant(lie=_answers("GET_MAX_SIZE", _u64(0, 0))),
    "free above total": Mutant(lie=_answers("GET_DEVICE_MEMORY", _u64(0, 1 << 62))),
    "total 0": Mutant(lie=_answers("GET_DEVICE_MEMORY", lambda body: bytes(16))),
    "no devices": Mutant(lie=_answers("DEVICE_COUNT", lambda body: bytes(4))),
    "no memory": Mutant(lie=_answers("ALLOC_BUFFER", lambda body: bytes(16))),
    "memory without end": Mutant(lie=_answers("ALLOC_BUFFER", _granted)),
    "base 0": Mutant(lie=_answers("BUFFER_GET_BASE", lambda body: bytes(8))),
    "base at odd places": Mutant(lie=_answers("BUFFER_GET_BASE", _odd)),
    "alloc size 0": Mutant(lie=_answers("GET_ALLOC_SIZE", lambda body: bytes(8))),
    "alloc size larger": Mutant(lie=_answers("GET_ALLOC_SIZE", _u64(0, 1 << 20))),
    "hash always known": Mutant(lie=_answers("SET_TENSOR_HASH", lambda body: b"\1")),
    "other version": Mutant(lie=_answers("HELLO", lambda body: b"\x63" + body[1:])),
    "capabilities": Mutant(lie=_answers("HELLO", lambda body: body[:-1] + b"\1")),
    "status 1": Mutant(lie=_answers("GRAPH_COMPUTE", lambda body: b"\1")),
    "eight bytes too many": Mutant(lie=Lie(after_silence=bytes(8))),
    **{f"{name} not answered": Mutant(lie=_missing(name)) for name in ANSWERED},
    **{f"{name} answered too long": Mutant(lie=_longer(name)) for name in ANSWERED},
    **{f"silent after {name}": Mutant(lie=_silent_after(name)) for name in (*SILENT, *ANSWERED)},
    **{f"dies at {name}": Mutant(lie=_dies_at(name)) for name in (*SILENT, *ANSWERED)},
}
