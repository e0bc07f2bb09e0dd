"""`ggmlrpc top`: watch a server through its /status."""

from __future__ import annotations

import json
import time
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import click

from ggmlrpc_core.cli.options import HELP
from ggmlrpc_core.cli.table import size_text
from ggmlrpc_core.errors import ConnectionLost

if TYPE_CHECKING:
    from rich.console import RenderableType

TIMEOUT = 5.0


@click.command("top", help="Watch a server that runs with --metrics.", context_settings=HELP)
@click.argument("endpoint", metavar="HOST:PORT")
@click.option(
    "-n", "--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True,
    help="Seconds between two looks.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Print one look and end.")
def command(endpoint: str, interval: float, once: bool) -> None:
    """Show devices and clients, with rates between two looks."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    before = look(endpoint)
    if once:
        console.print(page(before, before))
        return
    with Live(page(before, before), console=console, screen=True, auto_refresh=False) as live:
        while True:  # until Ctrl-C
            time.sleep(interval)
            now = look(endpoint)
            live.update(page(now, before), refresh=True)
            before = now


def look(endpoint: str) -> dict[str, Any]:
    """The status of a server.

    Raises:
        ConnectionLost: nobody answers there, or it is no metrics port.
    """
    # A server answers to no name but this one: others may be a page's that points it there.
    request = urllib.request.Request(f"http://{endpoint}/status", headers={"Host": "localhost"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, HTTPException, ValueError) as exc:
        rule = "the port that `ggmlrpc serve --metrics` names"
        raise ConnectionLost("top", endpoint, str(exc) or type(exc).__name__, rule) from exc
    return found


def page(now: dict[str, Any], before: dict[str, Any]) -> RenderableType:
    """Tables of devices and clients; rates are those since `before`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    seconds = max(now["seconds"] - before["seconds"], 1e-9)
    bound = f" of {size_text(now['memory_limit'])}" if now["memory_limit"] is not None else ""
    head = Text(
        f"ggmlrpc {now['version']}, up {_duration(now['seconds'])}, {len(now['clients'])} clients, "
        f"{size_text(now['memory'])}{bound} in buffers, {now['connections']} connections, "
        f"{now['faults']} closed by a fault, {now['refused']} refused"
    )
    devices = Table("device", "busy", "queue", "graphs/s", "description", box=None, pad_edge=False)
    earlier = {device["name"]: device for device in before["devices"]}
    for device in now["devices"]:
        old = earlier.get(device["name"], device)
        busy = (device["busy_seconds"] - old["busy_seconds"]) / seconds
        graphs = (sum(device["graphs"]) - sum(old["graphs"])) / seconds
        devices.add_row(
            Text(device["name"]), f"{min(busy, 1):.0%}", str(device["queue"]), f"{graphs:.1f}",
            Text(device["description"]),
        )  # fmt: skip
    clients = Table(
        "client", "speaks", "since", "memory", "in/s", "out/s", "graphs/s", box=None, pad_edge=False
    )
    known = {client["label"]: client for client in before["clients"]}
    for client in sorted(now["clients"], key=lambda one: -one["memory"]):
        old = known.get(client["label"], client)
        rates = [(client[k] - old[k]) / seconds for k in ("received", "sent", "graphs")]
        clients.add_row(
            Text(client["label"]), Text(client["dialect"]), _duration(client["seconds"]),
            size_text(client["memory"]), size_text(rates[0]), size_text(rates[1]), f"{rates[2]:.1f}",
        )  # fmt: skip
    return Group(head, Text(), devices, Text(), clients)


def _duration(seconds: float) -> str:
    """Seconds for people."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours >= 48:
        return f"{hours // 24}d"
    return f"{hours}h{minutes % 60:02}m" if hours else f"{minutes}m{int(seconds) % 60:02}s"
