"""What the engine tells its owner. Short reprs: no event prints a tensor's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Signal(Enum):
    """Events that carry nothing."""

    NEED_DATA = auto()
    """Nothing to tell before more bytes come; see Connection.bytes_wanted."""
    PEER_CLOSED = auto()
    """The peer closed between two messages."""


NEED_DATA = Signal.NEED_DATA
PEER_CLOSED = Signal.PEER_CLOSED


@dataclass(frozen=True, slots=True)
class Request:
    """A peer's request, to the server.

    Attributes:
        command: name.
        fields: as wire.codec gives them.
        size: payload bytes as declared.
        body_size: bytes of tensor data that follow and must be taken before the next event; 0 for none.
    """

    command: str
    fields: Mapping[str, Any]
    size: int
    body_size: int = 0

    def __repr__(self) -> str:
        return f"Request({self.command}, {self.size} bytes, body {self.body_size})"


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the oldest unanswered request, to the client.

    Attributes:
        command: name of the request that it answers.
        fields: as wire.codec gives them; empty when the reply is data.
        body_size: bytes of tensor data that follow and must be taken before the next event; 0 for none.
    """

    command: str
    fields: Mapping[str, Any]
    body_size: int = 0

    def __repr__(self) -> str:
        return f"Reply({self.command}, body {self.body_size})"


Event = Signal | Request | Reply
