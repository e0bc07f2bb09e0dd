"""ops.csv in the columns of upstream's docs/ops/*.csv, so that upstream's own script makes its table from it."""

from __future__ import annotations

import csv
import io

from ggmlrpc_conformance.report.text import spreadsheet
from ggmlrpc_conformance.results import CaseResult, Run, Verdict

COLUMNS = (
    "backend_name", "op_name", "op_params", "test_mode", "supported", "error_message", "backend_reg_name",
)  # fmt: skip


def ops_csv(run: Run) -> str:
    """A row per op case that was judged. As upstream's, error_message says yes or no in mode support."""
    file = io.StringIO()
    out = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    out.writerow(COLUMNS)
    for result in run.results:
        if result.op and result.verdict.judged:
            supported = result.verdict.good
            out.writerow(
                [
                    spreadsheet(result.target),
                    spreadsheet(result.op.rpartition("/")[2]),
                    spreadsheet(f"types={result.types},case={_case(result)}"),
                    "support",
                    "1" if supported else "0",
                    "yes" if supported else "no",
                    "RPC",
                ]
            )
    return file.getvalue()


def not_judged(run: Run) -> int:
    """Op cases that have no row."""
    return sum(1 for r in run.results if r.op and not r.verdict.judged)


def _case(result: CaseResult) -> str:
    flaky = " (flaky)" if result.verdict is Verdict.FLAKY else ""
    return result.full_id + flaky
