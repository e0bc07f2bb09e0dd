"""`ggmlrpc replay`: a recording against a server."""

from __future__ import annotations

from pathlib import Path

import click

from ggmlrpc_core.cli.options import HELP
from ggmlrpc_core.cli.tolerance import TOLERANCE


@click.command(
    "replay",
    help="Replay a recording on a server and judge its answers.\n\n"
    "Exit code 1 when a client would have noticed a difference: a wrong answer, no answer, or values further off "
    "than the tolerance of the recording.",
    context_settings=HELP,
)
@click.argument(
    "recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECORDING..."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("127.0.0.1:50052",),
    show_default=True,
    metavar="HOST:PORT",
    help="The server; several times for a recording of several, in their order.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    help="Seconds without a byte before the server counts as silent.",
)
@click.option("--tolerance", type=TOLERANCE, help="Instead of that in the recording.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per recording.")
def command(
    recordings: tuple[Path, ...],
    targets: tuple[str, ...],
    timeout: float,
    tolerance: dict[str, float] | None,
    as_json: bool,
) -> int:
    """Exit code 1 when a replay is not ok."""
    import json
    from dataclasses import replace

    from ggmlrpc_core.endpoint import Endpoint
    from ggmlrpc_core.recording.file import Recording
    from ggmlrpc_core.recording.player import replay

    endpoints = [Endpoint.parse(text) for text in targets]
    bad = 0
    for path in recordings:
        with Recording(path) as recording:
            if tolerance is not None:
                recording.head = replace(recording.head, tolerance=tolerance)
            report = replay(recording, endpoints, timeout=timeout)
        click.echo(json.dumps(report.to_dict()) if as_json else report.text())
        bad += not report.ok
    if len(recordings) > 1 and not as_json:
        click.echo(f"{len(recordings) - bad} of {len(recordings)} recordings ok")
    return int(bad > 0)
