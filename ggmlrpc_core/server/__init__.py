"""The server side: listeners, sessions, device workers, hash cache, limits."""

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.server.hash_cache import HashCache
from ggmlrpc_core.server.limits import ServerLimits
from ggmlrpc_core.server.server import DeviceSpec, Server
from ggmlrpc_core.server.start import start_server

__all__ = ["DeviceSpec", "Endpoint", "HashCache", "Server", "ServerLimits", "start_server"]
