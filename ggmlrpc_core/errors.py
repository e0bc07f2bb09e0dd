"""The exception tree.

An exception takes values, keeps them as attributes and builds its sentence in `__str__`:
`{where}: {what} is {got}, expected {rule} [{context}]`. Text that came from a peer is escaped and cut.
"""

from __future__ import annotations

MAX_PEER_TEXT = 80


def clip(text: object) -> str:
    """Escape control characters and cut to MAX_PEER_TEXT, for text that a peer chose."""
    shown = "".join(
        ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in str(text)
    )
    return shown if len(shown) <= MAX_PEER_TEXT else shown[: MAX_PEER_TEXT - 3] + "..."


class GgmlRpcError(Exception):
    """Base of all exceptions of this package.

    Args:
        where: the command, op or component, for example "ALLOC_BUFFER".
        what: the thing that is wrong, for example "request_size".
        got: what was found.
        expected: the rule, for example "12".
        context: ends the sentence in brackets; None for none.
    """

    def __init__(
        self, where: str, what: str, got: object, expected: str, *, context: str | None = None
    ) -> None:
        super().__init__(where, what, got, expected, context)
        self.where = where
        self.what = what
        self.got = got
        self.expected = expected
        self.context = context

    def __str__(self) -> str:
        tail = f" [{self.context}]" if self.context else ""
        return f"{self.where}: {self.what} is {clip(self.got)}, expected {self.expected}{tail}"


class ProtocolError(GgmlRpcError):
    """Somebody broke the protocol; abstract, see the two below."""


class LocalProtocolError(ProtocolError):
    """Our own caller asked for something that the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; the connection must be closed."""


class VersionMismatch(RemoteProtocolError):
    """The peer announced a version that this side cannot speak."""


class AmbiguousDialect(LocalProtocolError):
    """The peer's version hides several numberings, and they differ in what was to be sent; nothing was."""


class UnknownCommand(RemoteProtocolError):
    """The command byte is not one of the dialect."""


class FrameTooLarge(RemoteProtocolError):
    """A declared length is above the limit of what may be held in memory."""


class TruncatedFrame(RemoteProtocolError):
    """The peer closed in the middle of a message."""


class BadGraph(RemoteProtocolError):
    """A graph that must not run: missing tensors, bad shapes, addresses outside their buffers."""


class DeviceError(GgmlRpcError):
    """A device could not do what was asked."""


class UnsupportedOp(DeviceError):
    """Nobody can run this op on these types."""


class OutOfDeviceMemory(DeviceError):
    """An allocation did not fit."""


class BufferNotFound(DeviceError):
    """A handle that this session does not own."""


class OutOfBounds(DeviceError):
    """A region outside its buffer or tensor, or an id in tensor data outside its range."""


class GraphStopped(DeviceError):
    """A run ended early because its session ended or its time was up."""


class DeviceLost(DeviceError):
    """The device is in a state that it does not come out of; everything on it is gone."""


class ConnectionLost(GgmlRpcError):
    """The peer went away, or does not answer within the timeout."""


class PluginError(GgmlRpcError):
    """A plugin is broken, or a device that it named cannot be opened."""


class RecordingError(GgmlRpcError):
    """A recording breaks its format, or does not hold what it names."""
