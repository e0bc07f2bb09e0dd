"""The sans-IO engine: bytes in, events out. Imports nothing that can block."""

from ggmlrpc_core.engine.connection import Connection
from ggmlrpc_core.engine.events import NEED_DATA, PEER_CLOSED, Event, Reply, Request
from ggmlrpc_core.engine.limits import Limits
from ggmlrpc_core.engine.state import TRANSITIONS, Role, State, Step

__all__ = [
    "NEED_DATA",
    "PEER_CLOSED",
    "TRANSITIONS",
    "Connection",
    "Event",
    "Limits",
    "Reply",
    "Request",
    "Role",
    "State",
    "Step",
]
