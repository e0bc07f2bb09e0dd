"""`ggmlrpc plugins`: what is installed, what is broken and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ggmlrpc_core.cli.options import HELP
from ggmlrpc_core.cli.table import print_table

if TYPE_CHECKING:
    from ggmlrpc_core.device import DeviceInfo
    from ggmlrpc_core.plugins import PluginInfo


@click.command("plugins", help="List the plugins and their devices.", context_settings=HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Print the plugins; a broken one is no error of this command."""
    from ggmlrpc_core.plugins import Plugins

    found = Plugins(complain=lambda sentence: click.echo(sentence, err=True))
    devices = found.devices()
    if as_json:
        click.echo(json.dumps([_as_json(plugin, devices) for plugin in found.plugins()], indent=2))
        return
    rows = []
    for plugin in found.plugins():
        names = ", ".join(device.name for device in devices if device.plugin == plugin.name)
        shown = plugin.problem or names or "none"
        rows.append((plugin.name, plugin.version, shown, ", ".join(plugin.hooks)))
    print_table(("plugin", "version", "devices", "hooks"), rows)


def _as_json(plugin: PluginInfo, devices: list[DeviceInfo]) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "hooks": list(plugin.hooks),
        "devices": [
            {
                "name": device.name,
                "description": device.description,
                "accelerator": device.accelerator,
            }
            for device in devices
            if device.plugin == plugin.name
        ],
        "problem": plugin.problem,
    }
