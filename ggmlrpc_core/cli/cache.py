"""`ggmlrpc cache`: list, verify, prune and seed a hash cache, ours or a stock worker's."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from ggmlrpc_core.cli.options import HELP, SIZE
from ggmlrpc_core.cli.table import print_table, size_text

_AGE = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class AgeType(click.ParamType):
    """Seconds, from a number with a unit."""

    name = "age"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Text to seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is not an age such as 12h or 30d", param, ctx)
        return float(match[1]) * _AGE[match[2]]


def _directory(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path:
    if value is not None:
        return value
    from ggmlrpc_core.server.cache_files import default_directory

    return default_directory()


_DIRECTORY = click.option(
    "-c",
    "--cache",
    "directory",
    type=click.Path(path_type=Path),
    callback=_directory,
    metavar="DIR",
    help="Directory of the cache. Default: that of llama.cpp's own server.",
)


@click.group(
    "cache",
    help="List, verify, prune and seed a hash cache.\n\n"
    "That of this server or of llama.cpp's own, also while they use it.",
    context_settings=HELP,
)
def command() -> None:
    """Hold the subcommands."""


@command.command("ls", help="List the files, the one used last first.", context_settings=HELP)
@_DIRECTORY
def list_command(directory: Path) -> None:
    """Print name, size, age and who sent it."""
    from ggmlrpc_core.server.cache_upkeep import list_files

    files = list_files(directory)
    print_table(
        ("name", "size", "last used", "sent by"),
        [
            (f.name, size_text(f.size), _ago(f.used), ", ".join(f.peers) if f.peers else "-")
            for f in files
        ],
    )
    click.echo(f"{len(files)} files, {size_text(sum(f.size for f in files))} in {directory}")


@command.command(
    "verify",
    help="Check that each file holds the bytes that its name stands for.",
    context_settings=HELP,
)
@_DIRECTORY
@click.option("--remove", is_flag=True, help="Remove the files that do not.")
def verify_command(directory: Path, remove: bool) -> int:
    """Exit code 1 when a file is wrong and stays."""
    from rich.console import Console
    from rich.progress import track

    from ggmlrpc_core.server.cache_files import CacheFiles
    from ggmlrpc_core.server.cache_upkeep import list_files, verify

    files = list_files(directory)
    wrong = []
    console = Console(stderr=True)
    for file in track(files, "verify", console=console, disable=not console.is_terminal):
        if verify(directory, file.name) is False:
            wrong.append(file)
    for file in wrong:
        click.echo(f"{file.name} holds other bytes than its name says, {size_text(file.size)}")
        if remove:
            CacheFiles(directory).remove(file.name)
    done = ", removed" if wrong and remove else ""
    click.echo(f"{len(files)} files, {len(wrong)} wrong{done}")
    return int(bool(wrong) and not remove)


@command.command("prune", help="Remove what was used longest ago.", context_settings=HELP)
@_DIRECTORY
@click.option("--max-size", type=SIZE, help="What may stay, such as 50G.")
@click.option("--max-age", type=AgeType(), metavar="AGE", help="Last use that may stay: 30d, 12h.")
def prune_command(directory: Path, max_size: int | None, max_age: float | None) -> None:
    """Remove files, the operator's too."""
    from ggmlrpc_core.server.cache_upkeep import list_files, prune

    if max_size is None and max_age is None:
        raise click.UsageError("nothing to prune by, expected --max-size or --max-age")
    files = list_files(directory)
    removed = list(prune(directory, files, max_size=max_size, max_age=max_age))
    freed = sum(file.size for file in removed)
    click.echo(f"removed {len(removed)} of {len(files)} files, {size_text(freed)}")


@command.command(
    "seed",
    help="Put large tensors of GGUF files into the cache: no upload.",
    context_settings=HELP,
)
@_DIRECTORY
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="GGUF")
def seed_command(directory: Path, models: tuple[Path, ...]) -> None:
    """Hash and copy each tensor above the size that clients ask for."""
    from ggmlrpc_core.server.cache_upkeep import seed
    from ggmlrpc_core.server.hash_cache import SAVE_ABOVE

    for model in models:
        seeded = []
        for one in seed(directory, model):
            seeded.append(one)
            click.echo(
                f"{one.name} {size_text(one.size):>9} {'' if one.new else '(there) '}{one.tensor}"
            )
        new = sum(one.new for one in seeded)
        size = size_text(sum(one.size for one in seeded))
        click.echo(
            f"{model}: {len(seeded)} tensors above {size_text(SAVE_ABOVE)}, {size}, {new} new"
        )


def _ago(moment: float) -> str:
    """How long ago, for people."""
    seconds = max(0.0, time.time() - moment)
    for unit in ("w", "d", "h", "m"):
        if seconds >= _AGE[unit]:
            return f"{seconds / _AGE[unit]:.0f}{unit} ago"
    return "now"
