"""All reports of one run, as files in a folder. The results themselves are written as they come, by the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ggmlrpc_conformance.report.badge import badge
from ggmlrpc_conformance.report.baseline import shipped
from ggmlrpc_conformance.report.headline import headline
from ggmlrpc_conformance.report.junit import junit
from ggmlrpc_conformance.report.ops_csv import ops_csv
from ggmlrpc_conformance.report.page import page
from ggmlrpc_conformance.report.summary import summary
from ggmlrpc_conformance.report.tally import all_targets, of_level, of_target, tally
from ggmlrpc_conformance.results import Level, Run


def write_reports(run: Run, folder: Path) -> list[Path]:
    """Write every report of a run, whole or interrupted.

    Args:
        folder: is made when it is not there; files of an earlier report in it are replaced.

    Returns:
        The files, the page first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.html": page(run, shipped()),
        "summary.md": summary(run),
        "junit.xml": junit(run),
        "ops.csv": ops_csv(run),
        "badge.svg": badge(run),
        "summary.json": json.dumps(numbers(run), indent=1, allow_nan=False) + "\n",
    }
    written = []
    for name, text in texts.items():
        path = folder / name
        # A reader never sees half a page; surrogates can come from arguments of the command line.
        part = path.with_suffix(path.suffix + ".part")
        part.write_bytes(text.encode("utf-8", "replace"))
        part.replace(path)
        written.append(path)
    return written


def numbers(run: Run) -> dict[str, Any]:
    """What a program wants to know of a run, with the schema of a shields endpoint badge in it."""
    targets: list[dict[str, Any]] = []
    for target in all_targets(run):
        results, head = of_target(run, target), headline(run, target)
        levels = {level: of_level(results, level) for level in Level}
        targets.append(
            {
                "target": target.label,
                "version": target.version,
                "answer": head.answer.value,
                "why": head.why,
                "levels": {
                    level.value: {"good": t.good, "bad": t.bad, "scored": t.scored}
                    for level, t in levels.items()
                },
                "verdicts": {v.value: n for v, n in sorted(tally(results).counts.items())},
            }
        )
    first = targets[0] if targets else None
    musts = first["levels"]["MUST"] if first else {"good": 0, "scored": 0, "bad": 0}
    return {
        "suite": run.info.suite,
        "started": run.info.started,
        "complete": run.info.complete,
        "cases": len(run.results),
        "targets": targets,
        "badge": {
            "schemaVersion": 1,
            "label": "ggml RPC",
            "message": f"{musts['good']}/{musts['scored']} MUST",
            "color": "red" if musts["bad"] else "green" if musts["good"] else "lightgrey",
        },
    }
