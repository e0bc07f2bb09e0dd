"""`ggmlrpc record`: a proxy before a server that writes what its clients say and hear."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click

from ggmlrpc_core.cli.options import HELP, SIZE
from ggmlrpc_core.cli.tolerance import TOLERANCE

SWITCH_SECONDS = 1e-4
"""How long the writing thread may keep a client waiting; Python's own 5 ms would be most of a token's time."""


@click.command(
    "record",
    help="Record the sessions of clients, as a proxy before a server.\n\n"
    "Give llama.cpp the address of --listen in --rpc; it does not notice. Stop with Ctrl-C. The recording holds "
    "weights and prompts: `ggmlrpc scrub` takes them out. For a client with several servers give --listen and "
    "--target several times, in pairs.",
    context_settings=HELP,
)
@click.option(
    "--listen",
    "listens",
    multiple=True,
    metavar="HOST:PORT",
    help="Where clients connect. Default: 127.0.0.1:50053; a port of 0 takes a free one.",
)
@click.option(
    "--target", "targets", multiple=True, required=True, metavar="HOST:PORT", help="The server."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="Folder to make, by custom NAME.ggrec.",
)
@click.option(
    "--dialect", metavar="NAME", help="What the server speaks. Default: what it announces in HELLO."
)
@click.option(
    "--weights", metavar="SEED", help="Seed of a synthetic model: its weights are not stored."
)
@click.option("--memory", type=SIZE, help="Memory that clients are told. Default: the truth.")
@click.option(
    "--tolerance",
    type=TOLERANCE,
    default="nmse=1e-3",
    show_default=True,
    help="Of computed answers at a replay.",
)
@click.option("--note", default="", help="Free text in the head: what was done, with what client.")
def command(
    listens: tuple[str, ...],
    targets: tuple[str, ...],
    output: Path,
    dialect: str | None,
    weights: str | None,
    memory: int | None,
    tolerance: dict[str, float],
    note: str,
) -> None:
    """Run the proxy until a signal."""
    from importlib.metadata import version

    from ggmlrpc_core.endpoint import Endpoint
    from ggmlrpc_core.errors import RecordingError
    from ggmlrpc_core.recording.blobs import LINES_NAME
    from ggmlrpc_core.recording.capture import Options
    from ggmlrpc_core.recording.proxy import Recorder, Route
    from ggmlrpc_core.wire import dialects

    listens = listens or ("127.0.0.1:50053",)
    if len(listens) != len(targets):
        raise click.UsageError(
            f"{len(listens)} --listen for {len(targets)} --target, expected pairs"
        )
    if (output / LINES_NAME).exists():
        raise RecordingError(str(output), "folder", "a recording", "a new one, or another name")
    about = {"tool": f"ggmlrpc {version('ggmlrpc')}"} | ({"note": note} if note else {})
    options = Options(
        dialect=dialects.dialect(dialect) if dialect else None,
        weights=weights,
        memory=memory,
        tolerance=tolerance,
        privacy="unscrubbed" if weights is None else "synthetic",
        about=about,
    )
    routes = [
        Route(Endpoint.parse(ours), Endpoint.parse(theirs))
        for ours, theirs in zip(listens, targets)
    ]
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # the last on Windows only
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stopper(stop))
    sys.setswitchinterval(SWITCH_SECONDS)
    recorder = Recorder(output, routes, options=options)
    try:
        for ours, route in zip(recorder.endpoints, routes):
            click.echo(f"recording {route.target} at {ours}; stop with Ctrl-C")
        while not stop.wait(0.5) and recorder.failure is None:
            pass
    finally:
        events, connections = recorder.close()
    if not events:
        click.echo("no client said anything, nothing was written", err=True)
        return
    click.echo(f"{output}: {events} events on {connections} connections")


def _stopper(stop: threading.Event) -> Callable[[int, object], None]:
    """A handler for the first signal; a second one ends the process as usual."""

    def handle(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    return handle
