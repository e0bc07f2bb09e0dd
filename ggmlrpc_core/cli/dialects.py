"""`ggmlrpc dialects`: every wire state that was shipped, who speaks it, and what it changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ggmlrpc_core.cli.options import HELP
from ggmlrpc_core.cli.table import print_table

if TYPE_CHECKING:
    from ggmlrpc_core.wire.dialects import Dialect

_NOTES = """
A name is what --dialect takes; a version without its date means the last of its states. Releases are those whose
sources were read; llama.cpp's own builds from the first date on speak the dialect too, until the last one.
/name128 behind a version means a build with names of 128 bytes (stable-diffusion.cpp); a server knows such a client
by the lengths of its messages. "not proven" means that no real peer could be tried."""


@click.command(
    "dialects",
    help="List the versions of the protocol.\n\n"
    "With NAMES only these: 2.0.0 lists every numbering that hides behind 2.0.0, ik lists those of ik_llama.cpp.",
    context_settings=HELP,
)
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Print the dialects, oldest first."""
    chosen = _choose(names)
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in chosen], indent=2))
        return
    print_table(
        ("dialect", "from", "until", "spoken by", "what differs from the one before"),
        [_row(one) for one in chosen],
    )
    click.echo(_NOTES)


def _choose(names: tuple[str, ...]) -> list[Dialect]:
    """All dialects, or those that the names mean."""
    from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names

    every = [dialect(name) for name in (*dialect_names(), *fork_names())]
    if not names:
        return every
    chosen = []
    for name in names:
        found = [d for d in every if name in (d.name, d.label, d.label.partition("/")[0], d.fork)]
        chosen += found or [dialect(name)]
    return chosen


def _row(one: Dialect) -> tuple[str, str, str, str, str]:
    from ggmlrpc_core.wire import history

    spoken_by = [str(release) for release in history.releases(one)]
    if not spoken_by:
        who = "ik_llama.cpp" if one.fork else "llama.cpp"
        spoken_by = [who if one.proven else f"{who}, not proven"]
    changes = history.changes(one) if one.max_name == 64 else []
    return (
        one.name,
        one.shipped,
        one.last,
        "\n".join(spoken_by),
        "\n".join(f"- {change}" for change in changes),
    )


def _as_json(one: Dialect) -> dict[str, Any]:
    from ggmlrpc_core.wire import history

    numbers = one.numbering
    plain = one.max_name == 64
    return {
        "name": one.name,
        "version": None if one.hello_size is None else str(one.version),
        "first": one.shipped,
        "last": one.last or None,
        "fork": one.fork or None,
        "proven": one.proven,
        "tensor_bytes": one.tensor.size,
        "hello_bytes": one.hello_size,
        "commands": {name: wire.number for name, wire in one.by_name.items()},
        "ops": len(numbers.ops),
        "unary": len(numbers.unary),
        "glu": len(numbers.glu),
        "types": len(numbers.types),
        "releases": [
            {"package": r.package, "release": r.release, "date": r.date}
            for r in history.releases(one)
        ],
        "changes": history.changes(one) if plain else [],
    }
