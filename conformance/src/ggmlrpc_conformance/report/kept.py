"""The clauses of the specification in one run: which were kept, which were broken, which nothing was said of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ggmlrpc_conformance.clauses import Clause, clauses
from ggmlrpc_conformance.report.tally import Tally, tally
from ggmlrpc_conformance.results import CaseResult


@dataclass(frozen=True, slots=True)
class ClauseRow:
    """One clause.

    Attributes:
        cases: that cite it first or further on, whatever became of them.
        state: kept, broken, not judged (cases did not run or say nothing), no case.
    """

    clause: Clause
    cases: Tally
    state: str


def clause_rows(results: Iterable[CaseResult]) -> list[ClauseRow]:
    """A row per clause in force, in the order of reading."""
    citing: dict[str, list[CaseResult]] = {}
    for result in results:
        for clause_id in result.clauses:
            citing.setdefault(clause_id, []).append(result)
    rows = []
    for clause in clauses().values():
        if clause.withdrawn is None:
            cases = tally(citing.get(clause.id, []))
            rows.append(ClauseRow(clause, cases, _state(cases)))
    return rows


def _state(cases: Tally) -> str:
    if cases.bad:
        return "broken"
    if cases.good:
        return "kept"
    return "not judged" if cases.total else "no case"
