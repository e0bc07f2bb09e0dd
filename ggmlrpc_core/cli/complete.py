"""`ggmlrpc complete`: what a recording expects, from a reference server or our reference ops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ggmlrpc_core.cli.options import HELP, OTHER_RECORDING

if TYPE_CHECKING:
    from contextlib import ExitStack

    from ggmlrpc_core.endpoint import Endpoint
    from ggmlrpc_core.recording.file import Recording


@click.command(
    "complete",
    help="Write a server's answers into a recording as what is expected.\n\n"
    "The server is --target, or with --reference our own with the reference ops, slow and without a device.",
    context_settings=HELP,
)
@click.argument("source", type=click.Path(path_type=Path), metavar="RECORDING")
@OTHER_RECORDING
@click.option(
    "--target", "targets", multiple=True, metavar="HOST:PORT", help="The reference server."
)
@click.option("--reference", is_flag=True, help="Compute with our reference ops.")
@click.option(
    "--all", "replace_all", is_flag=True, help="Also where something is expected already."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=600.0, show_default=True, help="Seconds."
)
def command(
    source: Path,
    output: Path,
    targets: tuple[str, ...],
    reference: bool,
    replace_all: bool,
    timeout: float,
) -> None:
    """Write the other recording and say how many answers it has."""
    from contextlib import ExitStack

    from ggmlrpc_core.endpoint import Endpoint
    from ggmlrpc_core.recording.complete import complete

    if bool(targets) == reference:
        raise click.UsageError("expected either --target or --reference")
    with ExitStack() as stack:
        servers = [Endpoint.parse(text) for text in targets]
        if reference:
            servers = _reference_servers(source, stack)
        n = complete(source, output, servers, replace_all=replace_all, timeout=timeout)
    click.echo(f"{output}: {n} answers written")


def _reference_servers(source: Path, stack: ExitStack) -> list[Endpoint]:
    """A server with reference ops for each recorded one, on free ports of this machine."""
    from functools import partial

    from ggmlrpc_core.recording.file import Recording
    from ggmlrpc_core.server.server import Server
    from ggmlrpc_core.testing.reference import ReferenceDevice

    with Recording(source) as recording:
        head = recording.head
        devices = max_device(recording) + 1
    found = []
    for _ in range(head.servers):
        opens = [partial(ReferenceDevice, f"REF{i}") for i in range(devices)]
        server = Server(opens, endpoint="127.0.0.1:0", dialect=head.dialect)
        server.start()
        stack.callback(server.close)
        found.append(server.endpoint)
    return found


def max_device(recording: Recording) -> int:
    """The largest device number in a recording; there may be as many as its server had."""
    from ggmlrpc_core.recording.messages import Message
    from ggmlrpc_core.recording.rewrite import device_of

    by_name = recording.head.dialect.by_name
    return max(
        (
            device_of(by_name[event.command], event.payload)
            for _, _, event in recording.events()
            if isinstance(event, Message)
        ),
        default=0,
    )
