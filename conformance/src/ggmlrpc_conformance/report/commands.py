"""The commands that read results files: report, diff, baseline."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from ggmlrpc_conformance.report import baseline as baselines
from ggmlrpc_conformance.report.difference import Change, difference
from ggmlrpc_conformance.report.files import write_reports
from ggmlrpc_conformance.report.headline import terminal_lines
from ggmlrpc_conformance.report.tally import all_targets
from ggmlrpc_conformance.results import Run, read_run

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
RESULTS = click.Path(exists=True, dir_okay=False, path_type=Path)


def load(path: Path) -> Run:
    """Read a results file.

    Raises:
        click.ClickException: it is not one.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return read_run(file)
    except (ValueError, KeyError, TypeError) as exc:
        raise click.ClickException(f"{path}: not a results file: {exc}") from exc


@click.command()
@click.argument("results", type=RESULTS)
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    default=Path("report"),
    show_default=True,
    help="Folder for the files.",
)
def report(results: Path, output: Path) -> None:
    """Make a page, JUnit, CSV, Markdown and a badge from RESULTS (JSON Lines, also of an interrupted run)."""
    run = load(results)
    for target in all_targets(run):
        for line in terminal_lines(run, target):
            click.echo(line)
    written = write_reports(run, output)
    kept = output / "results.jsonl"
    if not (kept.exists() and kept.samefile(results)):
        shutil.copyfile(results, kept)
    click.echo("\n".join(str(path) for path in [*written, kept]))


@click.command()
@click.argument("old", type=RESULTS)
@click.argument("new", type=RESULTS)
def diff(old: Path, new: Path) -> None:
    """Say what changed from OLD to NEW, case by case; exit code 1 when anything regressed."""
    found = difference(load(old), load(new))
    for line in found.lines():
        click.echo(line)
    sys.exit(1 if found.of(Change.REGRESSED) else 0)


@click.command()
@click.argument("results", type=RESULTS)
@click.option("-o", "--output", type=FILE, required=True, help="CSV file, named after the server.")
def baseline(results: Path, output: Path) -> None:
    """Keep what a stock server did, for the tables of other servers' reports."""
    run = load(results)
    with output.open("w", encoding="utf-8", newline="") as file:
        baselines.write(file, run.results)
    click.echo(f"{output}: {len(run.results):,} results read")


COMMANDS = (report, diff, baseline)
