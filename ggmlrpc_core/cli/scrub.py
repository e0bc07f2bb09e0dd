"""`ggmlrpc scrub`: a recording that can be given away."""

from __future__ import annotations

from pathlib import Path

import click

from ggmlrpc_core.cli.options import HELP, OTHER_RECORDING


@click.command(
    "scrub",
    help="Take weights, prompts and names out of a recording.\n\n"
    "Weights and activations become generated data, ids of tokens other ids, names t1, t2, ...; messages, shapes and "
    "order stay. Nothing is expected of the answers then; `ggmlrpc complete` asks a server for them.",
    context_settings=HELP,
)
@click.argument("source", type=click.Path(path_type=Path), metavar="RECORDING")
@OTHER_RECORDING
@click.option("--keep-names", is_flag=True, help="Leave the names of tensors.")
def command(source: Path, output: Path, keep_names: bool) -> None:
    """Write the other recording and say what was done."""
    from ggmlrpc_core.recording.scrub import scrub

    done = scrub(source, output, keep_names=keep_names)
    click.echo(
        f"{output}: {done.replaced} pieces of data replaced, {done.kept} kept (places, masks), "
        f"{done.opaque} that no schema explains made zero"
    )
