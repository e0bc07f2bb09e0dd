"""`ggmlrpc serve --warm`: a progress bar over what the plugins of the chosen devices make."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ggmlrpc_core.plugins import Plugins


def warm(plugins: Plugins, names: Sequence[str]) -> None:
    """Make everything that graphs on these devices would wait for; a line per device at its end.

    Raises:
        PluginError: some of it could not be made.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    for device in dict.fromkeys(info.name for info in plugins.choose(names)):
        total = 0
        with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task(f"{device}: compiling", total=None)
            for done, total, what in plugins.warm(device):
                bar.update(task, completed=done, total=total, description=f"{device}: {what}")
        click.echo(f"{device}: {total} kernels compiled" if total else f"{device}: warm", err=True)
