"""Write docs/reference/op-support.md and docs/reference/ops.csv from the results of a whole run.

python tests/upstream/backend_ops/page.py STOCK RESULTS docs/reference [--against RESULTS-stock]
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # makes `upstream` importable

from upstream.accuracy_page import table
from upstream.backend_ops.program import Case, build_program, list_cases
from upstream.backend_ops.results import (
    FAILED,
    NOT_JUDGED,
    PASSED,
    WRONG,
    Result,
    by_op,
    compare,
    count,
    read_results,
)
from upstream.backend_ops.wrong import WRONG_REFERENCES
from upstream.build_stock import find

from ggmlrpc_core.ops import OPS

COLUMNS = [
    "backend_name",
    "op_name",
    "op_params",
    "test_mode",
    "supported",
    "error_message",
    "backend_reg_name",
]
"""Of upstream's docs/ops/*.csv."""

INTRODUCTION = """# Support of ops, measured

Upstream's own op suite (`tests/test-backend-ops.cpp` of {client}) run over RPC against {server}: {n} cases,
{passed} passed, {failed} failed, {wrong} against a reference that is wrong (below), {not_judged} not judged. Not judged
means that the stock CPU backend does not support the case, so the suite has nothing to compare with; {computed} of
these were computed.

The last column is the worst error of all cases of a row as a fraction of upstream's limit for that case: below 1 it
passes. 0 means that all results were equal. Names are those of the suite: functions of UNARY and GLU, and fused
patterns, count as ops. [ops.csv](ops.csv) has every case that is not a fused pattern, in the columns of upstream's
`docs/ops`; the declarations are in [ops.md](ops.md).

This page is made by `tests/upstream/backend_ops/page.py` from a run of `tox -e backend-ops`.

"""


def figure(value: float) -> str:
    """Two digits."""
    return f"{value:.2g}"


def page(head: dict[str, Any], results: Sequence[Result], other: Sequence[Result] = ()) -> str:
    """The whole page."""
    computed = sum(result.status == NOT_JUDGED and not result.error for result in results)
    text = INTRODUCTION.format(
        **head,
        n=len(results),
        passed=count(results, PASSED),
        failed=count(results, FAILED),
        wrong=count(results, WRONG),
        not_judged=count(results, NOT_JUDGED),
        computed=computed,
    )
    rows = []
    for op, group in by_op(results).items():
        known = [r.fraction for r in group if r.fraction is not None and r.status == PASSED]
        finite = [value for value in known if value == value]
        counts = [count(group, status) for status in (PASSED, FAILED, WRONG, NOT_JUDGED)]
        rows.append([op, *counts, figure(max(finite)) if finite else ""])
    text += table(
        ["op", PASSED, FAILED, WRONG, NOT_JUDGED, "worst error as a fraction of the limit"], rows
    )
    if other:
        text += f"\n## Time\n\n{compare(results, other)}.\n"
    text += repeated_text(results) + wrong_text(results) + untested_text(results)
    return text


def repeated_text(results: Sequence[Result]) -> str:
    """How often the same graph gave the same bits."""
    repeated = sum(result.repeated for result in results)
    if not repeated:
        return ""
    unequal = sum(len(result.unequal) for result in results)
    ops = len({result.op for result in results if result.repeated})
    return (
        f"\n## The same graph twice\n\n{repeated} nodes of {ops} rows of the table were computed twice: "
        f"{unequal} gave other bits. Nodes that write into one of their sources cannot be repeated.\n"
    )


def wrong_text(results: Sequence[Result]) -> str:
    """The cases of WRONG_REFERENCES, with what is wrong."""
    wrong = [result for result in results if result.status == WRONG]
    if not wrong:
        return ""
    lines = [f"- `{r.name}`: {WRONG_REFERENCES[r.name]}\n" for r in wrong]
    return "\n## Upstream's reference is wrong\n\n" + "".join(lines)


def untested_text(results: Sequence[Result]) -> str:
    """Ops of the declarations whose name the suite does not have; functions have names of their own."""
    seen = {result.op for result in results}
    missing = sorted(name for name in OPS if name not in seen and name not in {"UNARY", "GLU"})
    if not missing:
        return ""
    return "\n## Not in the suite\n\n" + ", ".join(missing) + ".\n"


def csv_text(cases: Sequence[Case], results: Sequence[Result]) -> str:
    """A row for every case that is not fused, in the columns of upstream's docs/ops."""
    done = {result.number: result for result in results}
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case in cases:
        result = done.get(case.number)
        if result is None or case.fused:
            continue
        supported = result.status in (PASSED, WRONG) or (
            result.status == NOT_JUDGED and not result.error
        )
        verdict = ("1", "yes") if supported else ("0", "no")
        writer.writerow(("ggmlrpc", case.op, case.params, "support", *verdict, "ggmlrpc"))
    return out.getvalue()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write the op support page and CSV.")
    parser.add_argument("stock", type=Path, help="folder made by tests/upstream/build_stock.py")
    parser.add_argument("results", type=Path, help="file made by run.py")
    parser.add_argument("folder", type=Path, help="where op-support.md and ops.csv go")
    parser.add_argument("--against", type=Path, help="the same cases on the stock server")
    args = parser.parse_args()
    stock = find(args.stock)
    if stock is None:
        print(f"{args.stock}: no complete build there; run tests/upstream/build_stock.py first")
        return 2
    head, results = read_results(args.results)
    cases = list_cases(build_program(stock), stock)
    missing = len(cases) - len(results)
    if missing:
        print(f"{args.results}: {missing} cases are missing; let run.py go on with this file")
        return 1
    other = read_results(args.against)[1] if args.against else []
    (args.folder / "op-support.md").write_text(page(head, results, other))
    (args.folder / "ops.csv").write_text(csv_text(cases, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
