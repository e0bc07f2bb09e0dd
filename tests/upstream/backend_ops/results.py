"""The results of a run: one JSON line a case, appended as it happens, so that a run can be continued."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
WRONG = "reference wrong"
"""Not the result that upstream's reference gives, which is wrong: see WRONG_REFERENCES."""


@dataclass(frozen=True)
class Result:
    """What happened to one case.

    Attributes:
        number: place in the suite's own list.
        op: as the suite names it.
        params: as the suite prints them.
        status: PASSED, FAILED, WRONG or NOT_JUDGED.
        seconds: client, server and the client's own reference together.
        server_seconds: processor time of the server in them, all threads.
        error: what the suite or the client printed; empty for a case that passed, and for one that was computed and
            has nothing to be compared with.
        err: of the node that came closest to its limit; None when nothing was measured.
        limit: upstream's, for that node.
        repeated: nodes that were computed twice.
        unequal: ops whose second result had other bits.
        again: how many of the repetitions of a failing case passed, and how many there were.
    """

    number: int
    op: str
    params: str
    status: str
    seconds: float = 0.0
    server_seconds: float = 0.0
    error: str = ""
    err: float | None = None
    limit: float | None = None
    repeated: int = 0
    unequal: tuple[str, ...] = ()
    again: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """As in the suite's console output."""
        return f"{self.op}({self.params})"

    @property
    def fraction(self) -> float | None:
        """The error as a fraction of upstream's limit; None when nothing was measured."""
        if self.err is None or self.limit is None:
            return None
        if self.limit == 0:
            return 0.0 if self.err == 0 else float("inf")
        return self.err / self.limit


class Results:
    """A file of results; the first line says what was run.

    Args:
        path: continued when it exists and its first line is `head`.
        head: server, client, versions.

    Raises:
        ValueError: the file is of another run.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self._path = path
        self.done: dict[int, Result] = {}
        if path.exists():
            found, results = read_results(path)
            if found != head:
                raise ValueError(f"{path}: it is of {found}, expected {head}")
            self.done = {result.number: result for result in results}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(head) + "\n")

    def add(self, result: Result) -> None:
        """Keep one result."""
        self.done[result.number] = result
        with self._path.open("a") as out:
            out.write(json.dumps(asdict(result)) + "\n")

    def forget(self, status: str) -> None:
        """Leave out what has a status, so that it runs again; the new line counts."""
        self.done = {n: result for n, result in self.done.items() if result.status != status}


def read_results(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """The head of a file and its results, the last one of each case; a line that was cut off is left out."""
    head, *lines = path.read_text().splitlines()
    found: dict[int, Result] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        row["unequal"], row["again"] = tuple(row["unequal"]), tuple(row["again"])
        found[row["number"]] = Result(**row)
    return json.loads(head), sorted(found.values(), key=lambda result: result.number)


def by_op(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results of each op, ops in alphabetical order."""
    groups: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: (result.op, result.number)):
        groups.setdefault(result.op, []).append(result)
    return groups


def count(results: Iterable[Result], status: str) -> int:
    """How many results have a status."""
    return sum(result.status == status for result in results)


def compare(own: Iterable[Result], other: Iterable[Result]) -> str:
    """How long the cases took that both servers passed, as a sentence; empty when there are none."""
    times = {result.number: result.seconds for result in other if result.status == PASSED}
    both = [r for r in own if r.status == PASSED and r.number in times]
    if not both:
        return ""
    ours, theirs = sum(r.seconds for r in both), sum(times[r.number] for r in both)
    return (
        f"{len(both)} cases that pass on both servers took {ours:.0f} s, {theirs:.0f} s on the "
        f"stock server: {ours / theirs:.2f} times as long"
    )
