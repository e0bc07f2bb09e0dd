"""`--dialect auto`: which version to announce to whom, learned from who stays.

A stock client leaves right after HELLO when it does not accept the announced version, and its user or launcher starts
it again. It is offered the next version then. What a peer address stayed with, or left, is remembered for a while.
Announced are only versions that a client tells apart, major.minor; numberings are told by graphs (numbering.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ggmlrpc_core.wire.clients import offers
from ggmlrpc_core.wire.dialects import Dialect

REMEMBERED = 600.0
"""Seconds for which the place of a peer address is kept."""
MOST_PEERS = 4096
"""Addresses that are remembered at once; the one that was not seen for longest goes."""


_NO_HELLO = -1
"""In place of the length of HELLO."""


@dataclass(slots=True)
class _Place:
    """Where a peer is in the list of offers."""

    at: int
    until: float
    stayed: bool = False


class Walk:
    """The places of all peers of one listener. From any thread.

    Args:
        clock: seconds, growing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._places: OrderedDict[tuple[str, int], _Place] = OrderedDict()

    def offer(self, peer: str, hello_size: int) -> Dialect:
        """What to announce to a peer: the newest, or what it has come to by leaving."""
        with self._lock:
            return offers(hello_size)[self._place(peer, hello_size).at]

    def stayed(self, peer: str, offered: Dialect) -> bool:
        """A peer sent a command after HELLO; returns whether that was not known before."""
        with self._lock:
            place = self._place(peer, _size(offered))
            # Another connection of the address may have moved on meanwhile; who stays is right.
            at = offers(_size(offered)).index(offered)
            news = not place.stayed or place.at != at
            place.at, place.stayed = at, True
            return news

    def met(self, peer: str) -> bool:
        """A peer spoke without HELLO; returns whether that was not known before."""
        with self._lock:
            place = self._place(peer, _NO_HELLO)
            news, place.stayed = not place.stayed, True
            return news

    def left(self, peer: str, offered: Dialect) -> Dialect | None:
        """A peer left right after HELLO.

        Returns:
            What it will be offered when it comes again; None when it has left every version and begins anew.
        """
        with self._lock:
            place = self._place(peer, _size(offered))
            every = offers(_size(offered))
            if every[place.at] is offered:
                place.at, place.stayed = (place.at + 1) % len(every), False
            return every[place.at] if place.at else None

    def _place(self, peer: str, hello_size: int) -> _Place:
        """The place of a peer, which is forgotten when its time is up; asking keeps it."""
        now = self._clock()
        key = (peer, hello_size)
        place = self._places.get(key)
        if place is None or place.until < now:
            place = self._places[key] = _Place(0, 0.0)
        place.until = now + REMEMBERED
        self._places.move_to_end(key)
        while len(self._places) > MOST_PEERS:
            self._places.popitem(last=False)
        return place


def _size(offered: Dialect) -> int:
    assert offered.hello_size is not None
    return offered.hello_size
