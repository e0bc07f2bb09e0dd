"""Limits on what a peer may claim."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MAX_MESSAGE = 128 * 1024 * 1024
"""Bytes of one message that must be held in memory. A graph of 400,000 tensors is 118 MB; real ones
have under 20,000."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection accepts.

    Attributes:
        max_message: bytes of any message but SET_TENSOR data, which is bounded by its buffer.
    """

    max_message: int = DEFAULT_MAX_MESSAGE
