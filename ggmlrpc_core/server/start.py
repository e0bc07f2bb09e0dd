"""Start a server from what a user says: names of devices, threads, a cache directory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ggmlrpc_core.endpoint import DEFAULT_ENDPOINT, Endpoint
from ggmlrpc_core.plugins import Plugins, slots_of
from ggmlrpc_core.server.cache_files import default_directory
from ggmlrpc_core.server.hash_cache import DEFAULT_MAX_SIZE, HashCache
from ggmlrpc_core.server.limits import DEFAULT_LIMITS, ServerLimits
from ggmlrpc_core.server.server import DeviceSpec, Server

log = logging.getLogger("ggmlrpc.server")


def start_server(
    endpoint: str | Endpoint = DEFAULT_ENDPOINT,
    cache_dir: str | Path | None = None,
    *,
    n_threads: int | None = None,
    devices: Sequence[str] = (),
    dialect: str | None = None,
    listen: Sequence[tuple[str | Endpoint, str]] = (),
    limits: ServerLimits = DEFAULT_LIMITS,
    cache_size: int = DEFAULT_MAX_SIZE,
    cache_read_only: bool = False,
    cache_shared: bool = False,
    plugins: Plugins | None = None,
) -> Server:
    """Open devices of the installed plugins and serve them, on threads of the server.

    Args:
        endpoint: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.
        cache_dir: where to keep uploads; "" for the directory of the stock server, None for none.
        n_threads: CPU threads; None for the plugin's own choice.
        devices: names; empty for all accelerators, or the CPU.
        dialect: what is announced there, "7.0.0", or "auto"; None for the newest.
        listen: further endpoints, each with the name of what is announced there.
        limits: bounds on what clients may cost.
        cache_size: bytes of the cache.
        cache_read_only: serve from the cache, write nothing.
        cache_shared: serve what one client sent to all.
        plugins: None for those that are installed.

    Returns:
        A server that accepts clients; close it.

    Raises:
        PluginError: an unknown device, or one that does not open.
        LocalProtocolError: an endpoint or a dialect that does not exist.
        OSError: the endpoint or the cache directory cannot be used.
    """
    found = plugins or Plugins(complain=log.warning)
    chosen = slots_of(found.choose(devices))
    cache = None
    if cache_dir is not None:
        cache = HashCache(
            Path(cache_dir) if str(cache_dir) else default_directory(),
            max_size=cache_size,
            read_only=cache_read_only,
            shared=cache_shared,
            report=log.info,
        )
    server = Server(
        [
            DeviceSpec(
                slot.info.name, partial(found.open_device, slot.info.name, n_threads), slot.share
            )
            for slot in chosen
        ],
        endpoint=endpoint,
        dialect=dialect,
        listen=listen,
        limits=limits,
        cache=cache,
    )
    server.start()
    return server
