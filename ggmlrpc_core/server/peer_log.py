"""Lines of the log about peers, so many and no more: a flood of connections must not fill a disk."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from time import monotonic

BURST = 100
"""Lines about one address at once."""
PER_SECOND = 2.0
"""Lines about one address in the long run."""
MOST_PEERS = 1024
"""Addresses that are remembered; the one heard of longest ago is forgotten first."""


def network_of(peer: str) -> str:
    """An address, or for IPv6 the 64 bits that one site has to itself."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:  # a Unix socket
        return peer
    if address.version == 4 or address.ipv4_mapped is not None:
        return peer
    return str(ip_network((int(address) >> 64 << 64, 64)))


@dataclass(slots=True)
class _Account:
    left: float
    at: float
    omitted: int = 0


class PeerLog:
    """Writes to a logger unless a peer has been in it too often.

    Args:
        log: where lines go.
        clock: seconds.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def write(self, level: int, peer: str, message: str, *args: object) -> None:
        """One line about a peer, by its address without port; says how many were left out before it."""
        omitted = self._take(peer)
        if omitted is None:
            return
        if omitted:
            message += " (%d lines about this address left out)"
            args = (*args, omitted)
        self._log.log(level, message, *args)

    def _take(self, peer: str) -> int | None:
        """None when the line is left out, else how many were."""
        peer = network_of(peer)
        with self._lock:
            now = self._clock()
            account = self._accounts.setdefault(peer, _Account(BURST, now))
            self._accounts.move_to_end(peer)
            if len(self._accounts) > MOST_PEERS:
                self._accounts.popitem(last=False)
            account.left = min(BURST, account.left + (now - account.at) * PER_SECOND)
            account.at = now
            if account.left < 1:
                account.omitted += 1
                return None
            account.left -= 1
            omitted, account.omitted = account.omitted, 0
            return omitted
