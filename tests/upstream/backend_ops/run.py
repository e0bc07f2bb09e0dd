"""Run upstream's op suite over RPC against a server: `tox -e backend-ops`.

    python tests/upstream/backend_ops/run.py STOCK                 everything, about half an hour
    python tests/upstream/backend_ops/run.py STOCK --sample 150    what fits in 150 seconds, every op
    python tests/upstream/backend_ops/run.py STOCK --ops ADD,ROPE --server stock
    python tests/upstream/backend_ops/run.py STOCK --against       each case on the stock server too

STOCK is a folder from build_stock.py. Results go to a file, one line a case; a run with the same file goes on where it
stopped. A case that fails runs three times more alone, since the inputs differ from run to run, and is listed as
failed. Cases that the stock CPU does not support have nothing to be compared with: they are computed, and not judged.
Cases of WRONG_REFERENCES count apart. With --against, each case runs on ours and right after on the stock server, so
that both meet the same state of the machine, and the ratio of the times is printed; those results go to a file
beside the first one. Exit status 1 when anything failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # makes `upstream` importable

from upstream.backend_ops.program import Case, build_program, list_cases
from upstream.backend_ops.results import (
    FAILED,
    NOT_JUDGED,
    PASSED,
    WRONG,
    Result,
    Results,
    by_op,
    compare,
    count,
)
from upstream.backend_ops.sample import large, sampled
from upstream.backend_ops.worker import RETRIES, Worker
from upstream.backend_ops.wrong import WRONG_REFERENCES
from upstream.build_stock import BuildFailed, Stock, find

STATUSES = (PASSED, FAILED, WRONG, NOT_JUDGED)
MAX_SHOWN = 200
"""Failures that are printed; the file has all."""


def head_of(stock: Stock, kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """What a results file says about its run."""
    return {
        "server": stock.version if kind == "stock" else f"ggmlrpc {version('ggmlrpc')}",
        "client": stock.version,
        "threads": args.threads,
        "client_threads": args.client_threads,
        "twice": args.twice,
        "against": args.against,
        **({"device": args.device} if args.device else {}),
    }


def chosen(cases: Iterable[Case], args: argparse.Namespace) -> list[Case]:
    """The cases of --ops and --grep."""
    ops = set(args.ops.split(",")) if args.ops else None
    return [case for case in cases if (ops is None or case.op in ops) and args.grep in case.name]


@dataclass(frozen=True)
class Side:
    """A server and what came of it."""

    worker: Worker
    results: Results

    def run(self, case: Case, *, retries: int) -> Result:
        """Run a case that is not done yet."""
        if case.number not in self.results.done:
            self.results.add(self.worker.run(case, retries=retries))
        return self.results.done[case.number]


def run_all(sides: Sequence[Side], cases: Sequence[Case], args: argparse.Namespace) -> None:
    """Run what is not done yet until all is, or until the time of --sample is over.

    Args:
        sides: the server that is tested, and the one that it is compared with, if any.
    """
    console = Console(stderr=True)
    start, shown, failed = time.monotonic(), time.monotonic(), 0
    todo = [
        case for case in cases if case.number not in sides[-1 if case.judged else 0].results.done
    ]
    for done, case in enumerate(todo, start=1):
        result = sides[0].run(case, retries=args.retry)
        for other in sides[1:] if case.judged else ():  # some others end the stock server
            other.run(case, retries=0)
        failed += result.status == FAILED
        if result.status == FAILED and failed <= MAX_SHOWN:
            console.print(f"failed: {describe(result)}", markup=False, soft_wrap=True)
        now = time.monotonic()
        if now - shown > args.every:
            shown = now
            console.print(
                f"{done} of {len(todo)}, {failed} failed, {now - start:.0f} s: {result.op}",
                markup=False,
                highlight=False,
            )
        if args.sample and now - start > args.sample:
            break


def describe(result: Result) -> str:
    """One line for a failure."""
    passed, tries = result.again
    return f"{result.name}: {result.error} (again alone: {passed} of {tries} passed)"


def summary(results: Sequence[Result], seconds: float) -> None:
    """The table by op, the failures and the sums."""
    console = Console()
    table = Table("op", box=None)
    for name in (*STATUSES, "worst error / limit", "seconds"):
        table.add_column(name, justify="right")
    for op, group in by_op(results).items():
        fractions = [result.fraction for result in group if result.fraction is not None]
        table.add_row(
            op,
            *(str(count(group, status)) for status in STATUSES),
            f"{max(fractions):.2g}" if fractions else "",
            f"{sum(result.seconds for result in group):.1f}",
        )
    console.print(table)
    for result in [result for result in results if result.status == FAILED][:MAX_SHOWN]:
        console.print(f"failed: {describe(result)}", markup=False, soft_wrap=True)
    for result in [result for result in results if result.status == WRONG]:
        reason = WRONG_REFERENCES[result.name]
        console.print(f"{WRONG}: {result.name}: {reason}", markup=False, soft_wrap=True)
    refused = [result for result in results if result.status == NOT_JUDGED and result.error]
    for result in refused[:MAX_SHOWN]:
        console.print(f"refused: {result.name}: {result.error}", markup=False, soft_wrap=True)
    sums = ", ".join(f"{count(results, name)} {name}" for name in STATUSES)
    spent = sum(result.seconds for result in results)
    repeated = sum(result.repeated for result in results)
    console.print(f"{len(results)} cases: {sums}; {spent:.0f} s in cases, {seconds:.0f} s now")
    if repeated:
        unequal = sum(len(result.unequal) for result in results)
        console.print(f"{repeated} nodes computed twice: {unequal} with other bits")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Run upstream's op suite over RPC.")
    parser.add_argument("stock", type=Path, help="folder made by tests/upstream/build_stock.py")
    parser.add_argument("--server", choices=("ggmlrpc", "stock"), default="ggmlrpc")
    parser.add_argument("--device", default="", help="of our server, as for ggmlrpc serve -d")
    parser.add_argument("--against", action="store_true", help="run the stock server as well")
    parser.add_argument("--results", type=Path, help="file to write or to continue, JSON lines")
    parser.add_argument("--sample", type=float, default=0, help="seconds; 0 runs everything")
    parser.add_argument("--ops", default="", help="only these, separated by commas")
    parser.add_argument("--grep", default="", help="only cases whose name contains this")
    parser.add_argument("--retry", type=int, default=RETRIES, help="more runs of a failing case")
    parser.add_argument("--redo", action="store_true", help="run what failed in the file again")
    parser.add_argument("--twice", action="store_true", help="compare the bits of a second run")
    parser.add_argument("--timeout", type=float, default=900, help="seconds that a case may take")
    parser.add_argument("--threads", type=int, default=2, help="of the server")
    parser.add_argument("--client-threads", type=int, default=1, help="of the client's reference")
    parser.add_argument("--every", type=float, default=20, help="seconds between lines of progress")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, return the exit status."""
    args = parse(arguments)
    stock = find(args.stock)
    if stock is None:
        print(f"{args.stock}: no complete build there; run tests/upstream/build_stock.py first")
        return 2
    try:
        program = build_program(stock)
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 2
    start = time.monotonic()
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = args.results or stock.root / "backend_ops" / f"{args.server}-{moment}.jsonl"
    paths = {args.server: path}
    if args.against:
        paths["stock"] = path.with_name(f"{path.stem}-stock{path.suffix}")
    cases = chosen(list_cases(program, stock), args)
    if args.sample:
        todo = sampled(cases)
    else:  # the long ones last: most failures show in the first minutes
        todo = sorted(cases, key=large)
    with ExitStack() as stack:
        sides = []
        for kind, file in paths.items():
            results = Results(file, head_of(stock, kind, args))
            if args.redo:
                results.forget(FAILED)
            worker = Worker(
                program,
                stock,
                kind=kind,
                threads=args.threads,
                devices=(args.device,) if args.device and kind != "stock" else (),
                client_threads=args.client_threads,
                twice=args.twice,
                timeout=args.timeout,
            )
            sides.append(Side(stack.enter_context(worker), results))
        run_all(sides, todo, args)
    numbers = {case.number for case in cases}
    own, *others = (
        [result for number, result in sorted(side.results.done.items()) if number in numbers]
        for side in sides
    )
    summary(own, time.monotonic() - start)
    for other in others:
        print(compare(own, other))
    print(f"peak memory of the server: {sides[0].worker.peak_rss / 1e6:.0f} MB; results in {path}")
    return 1 if any(result.status == FAILED for result in own) else 0


if __name__ == "__main__":
    sys.exit(main())
