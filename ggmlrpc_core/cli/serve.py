"""`ggmlrpc serve`: the stock server's flags, and bounds that it lacks."""

from __future__ import annotations

import logging
import os
import signal
import threading
from ipaddress import IPv4Network, IPv6Network

import click

from ggmlrpc_core.cli.options import HELP, LISTEN, NETWORK, SIZE, listen_endpoint, split_names

DRAIN_SECONDS = 10.0
"""How long graphs may take to their end after the first signal; a second one ends the process."""
AS_ROOT = "WARNING: this runs as root, which nothing here needs; an account of its own is safer"
_STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last on Windows only


@click.command(
    "serve",
    help="Serve the devices of this machine to llama.cpp clients.\n\n"
    "The protocol has no authentication and no encryption: listen on a network only if you trust "
    "everybody in it.",
    context_settings=HELP,
)
@click.option(
    "-H",
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="HOST",
    help="Name, IPv4 or IPv6 address to listen on, or unix:/path.",
)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=50052,
    show_default=True,
    help="Port; 0 takes a free one.",
)
@click.option(
    "-d",
    "--device",
    "devices",
    metavar="DEV1,DEV2,...",
    help="Devices in the order clients see them. Default: all accelerators, or the CPU.",
)
@click.option("-t", "--threads", type=click.IntRange(min=1), help="Threads of the CPU device.")
@click.option(
    "--warm",
    is_flag=True,
    help="Compile every kernel before listening; else graphs wait for theirs the first time.",
)
@click.option(
    "-c",
    "--cache",
    is_flag=False,
    flag_value="",
    metavar="[DIR]",
    help="Keep large uploads on disk. Default directory: that of llama.cpp's own server.",
)
@click.option(
    "--cache-size", type=SIZE, default="64G", show_default=True, help="Bound of the cache."
)
@click.option("--cache-read-only", is_flag=True, help="Serve from the cache, write nothing.")
@click.option(
    "--cache-shared",
    is_flag=True,
    help="Serve what one client sent to every other. Only where all clients trust each other.",
)
@click.option("--max-memory", type=SIZE, help="Bound of all buffers together, such as 16G.")
@click.option("--max-client-memory", type=SIZE, help="Bound of one client's buffers.")
@click.option(
    "--max-clients",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Connections at once.",
)
@click.option(
    "--max-message",
    type=SIZE,
    default="128M",
    show_default=True,
    help="Bound of a message that is held in memory; uploads are not.",
)
@click.option(
    "--idle-timeout",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Close clients that say nothing for so long. Default: never, stock clients idle for hours.",
)
@click.option(
    "--allow",
    type=NETWORK,
    multiple=True,
    metavar="CIDR",
    help="Serve only addresses of this network, such as 192.168.1.0/24; may be repeated.",
)
@click.option(
    "--max-graph-work",
    type=float,
    default=1e17,
    show_default=True,
    metavar="OPERATIONS",
    help="Bound of one graph, estimated from its shapes.",
)
@click.option(
    "--dialect",
    metavar="NAME",
    help="Version to announce, of `ggmlrpc dialects`, or auto to find out what clients speak. "
    "Default: the newest.",
)
@click.option(
    "--listen",
    type=LISTEN,
    multiple=True,
    metavar="[HOST:]PORT=NAME",
    help="Announce another version on a further port. May be repeated; devices and bounds are shared.",
)
@click.option(
    "--load-plugins",
    metavar="NAME1,NAME2,...",
    help="Import only these plugins (entry points), and none of what else is installed.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Of what happens; json is one object a line on stderr.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve /metrics (Prometheus), /status (JSON) and /healthz over HTTP; host 127.0.0.1 "
    "unless named.",
)
def command(
    host: str,
    port: int,
    devices: str | None,
    threads: int | None,
    warm: bool,
    cache: str | None,
    cache_size: int,
    cache_read_only: bool,
    cache_shared: bool,
    max_memory: int | None,
    max_client_memory: int | None,
    max_clients: int,
    max_message: int,
    idle_timeout: float | None,
    allow: tuple[IPv4Network | IPv6Network, ...],
    max_graph_work: float,
    dialect: str | None,
    listen: tuple[tuple[str, str], ...],
    load_plugins: str | None,
    log_format: str,
    metrics: str | None,
) -> None:
    """Start the server and wait for a signal."""
    from ggmlrpc_core.cli import logs
    from ggmlrpc_core.cli.warm import warm as make_warm
    from ggmlrpc_core.plugins import Plugins
    from ggmlrpc_core.server import Endpoint, ServerLimits, start_server
    from ggmlrpc_core.server.banner import advice, banner, dialects_spoken, warning
    from ggmlrpc_core.server.metrics import MetricsServer
    from ggmlrpc_core.server.status import status_of

    logs.set_up(as_json=log_format == "json")
    stop = _stop_on_signals()
    log = logging.getLogger("ggmlrpc.server")
    plugins = Plugins(only=split_names(load_plugins) or None, complain=log.warning)
    if warm:
        make_warm(plugins, split_names(devices))
    endpoint = Endpoint(host, 0 if host.startswith("unix:") else port)
    server = start_server(
        endpoint,
        cache,
        n_threads=threads,
        devices=split_names(devices),
        dialect=dialect,
        listen=[(listen_endpoint(where, host), name) for where, name in listen],
        limits=ServerLimits(
            memory_total=max_memory,
            memory_per_client=max_client_memory,
            max_clients=max_clients,
            max_message=max_message,
            idle_timeout=idle_timeout,
            allow=allow,
            graph_work=max_graph_work,
        ),
        cache_size=cache_size,
        cache_read_only=cache_read_only,
        cache_shared=cache_shared,
        plugins=plugins,
    )
    watched = None
    try:
        if metrics is not None:
            watched = MetricsServer(
                Endpoint.parse(metrics), lambda: status_of(server), healthy=server.problem
            )
        shown = banner(
            server.dialect.version,
            server.endpoint,
            cache=server.cache_directory,
            devices=server.summaries(),
        )
        spoken = dialects_spoken([(where, str(offer)) for where, offer in server.offers])
        told = [shown, f"Bounds: {server.limits}", "", *spoken, advice(server.endpoint)]
        click.echo("\n".join(told))
        if watched is not None:
            click.echo(f"Metrics: http://{watched.endpoint}/metrics")
        for where, _ in server.offers:
            if (words := warning(where)) is not None:
                click.echo(words, err=True)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            click.echo(AS_ROOT, err=True)
        while not stop.wait(1.0):  # a wait without end cannot be interrupted on Windows
            pass
    finally:
        if watched is not None:
            watched.close()
        server.close(drain=DRAIN_SECONDS)


def _stop_on_signals() -> threading.Event:
    """An event that the first signal sets; a second one ends the process as usual."""
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for name in _STOP_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handle)
    return stop
