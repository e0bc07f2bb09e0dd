"""What the sessions of one server share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from ggmlrpc_core.server.counters import Counters
from ggmlrpc_core.server.hash_cache import HashCache
from ggmlrpc_core.server.limits import Budget, ServerLimits
from ggmlrpc_core.server.peer_log import PeerLog
from ggmlrpc_core.server.schedule import ServedDevice


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a server that a session uses.

    Attributes:
        devices: in the order in which clients count them.
        limits: bounds of the server.
        memory: the account of all clients together.
        cache: of uploads; None when the server has none.
        counters: of all clients.
        lines: the log, as far as it is about peers.
    """

    devices: Sequence[ServedDevice]
    limits: ServerLimits
    memory: Budget
    cache: HashCache | None = None
    counters: Counters = field(default_factory=Counters)
    lines: PeerLog = field(default_factory=lambda: PeerLog(logging.getLogger("ggmlrpc.server")))
