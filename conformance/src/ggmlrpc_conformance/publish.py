"""What a run leaves behind: lines for the terminal, and where a folder is named the report's files in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ggmlrpc_conformance.report.files import write_reports
from ggmlrpc_conformance.report.headline import terminal_lines
from ggmlrpc_conformance.report.tally import all_targets
from ggmlrpc_conformance.results import CaseResult, Run, RunInfo


def publish(info: RunInfo, results: Sequence[CaseResult], *, folder: str | None) -> list[str]:
    """Write the files; the lines to print."""
    run = Run(info, tuple(results))
    lines: list[str] = []
    for target in all_targets(run):
        lines += terminal_lines(run, target)
    if folder:
        lines.append(f"report: {write_reports(run, Path(folder))[0]}")
    return lines
