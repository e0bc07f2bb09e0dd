"""`ggmlrpc show`: the messages of a recording."""

from __future__ import annotations

from pathlib import Path

import click

from ggmlrpc_core.cli.options import HELP


@click.command(
    "show",
    help="Print the messages of a recording.\n\n"
    "A line each: its number in the file, the connection, the command, what it is about, the answer.",
    context_settings=HELP,
)
@click.argument("path", type=click.Path(path_type=Path), metavar="RECORDING")
@click.option(
    "--command", "commands", multiple=True, metavar="NAME", help="Only these, SET_TENSOR."
)
@click.option(
    "--connection", "connections", multiple=True, type=int, metavar="N", help="Only these."
)
@click.option(
    "--tensor", default="", metavar="TEXT", help="Only messages with this in a tensor's name."
)
@click.option("--graphs", is_flag=True, help="The nodes of graphs too.")
@click.option("--values", type=click.IntRange(min=0), default=0, help="So many values of data.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per message.")
def command(
    path: Path,
    commands: tuple[str, ...],
    connections: tuple[int, ...],
    tensor: str,
    graphs: bool,
    values: int,
    as_json: bool,
) -> int | None:
    """Print; a reader that closes the pipe ends it quietly."""
    import json
    import os
    import sys

    from ggmlrpc_core.recording.file import Recording
    from ggmlrpc_core.recording.show import Filter, shown

    wanted = Filter(
        commands=frozenset(name.upper() for name in commands),
        connections=frozenset(connections),
        tensor=tensor,
        graphs=graphs,
        n_values=values,
    )
    try:
        with Recording(path) as recording:
            head = recording.head
            unknown = wanted.commands - set(head.dialect.by_name)
            if unknown:
                raise click.UsageError(
                    f"{', '.join(sorted(unknown))}: no such command in protocol {head.dialect.name}"
                )
            if as_json:
                click.echo(json.dumps(head.to_line()))
            else:
                about = "".join(f", {key}: {text}" for key, text in head.about.items())
                click.echo(
                    f"protocol {head.dialect.name}, {head.servers} servers, {head.privacy}, "
                    f"tolerance {dict(head.tolerance)}{about}"
                )
            for one in shown(recording, wanted):
                click.echo(json.dumps(one.fields) if as_json else one.text)
            if recording.complete is False:
                click.echo("the recording has no end: its recorder was stopped hard", err=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return None
