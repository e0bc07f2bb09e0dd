"""Failures of one kind as one entry: same clause, same verdict, same op or same form of what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ggmlrpc_conformance.clauses import Clause, clauses
from ggmlrpc_conformance.report.text import plain
from ggmlrpc_conformance.results import CaseResult, Level, Verdict

_LEVELS = list(Level)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Failures that probably have one cause.

    Attributes:
        clause: the first that they cite; None when the specification does not have it.
        clause_id: its id, also then.
        what: op, or what was found with numbers left out.
        results: at least one, the shortest first.
    """

    clause: Clause | None
    clause_id: str
    verdict: Verdict
    level: Level
    what: str
    results: tuple[CaseResult, ...]


def clusters(results: Iterable[CaseResult], verdicts: frozenset[Verdict]) -> list[Cluster]:
    """Group the results of some verdicts: MUST first, then the largest group."""
    groups: dict[tuple[str, Verdict, Level, str], list[CaseResult]] = {}
    for result in results:
        if result.verdict in verdicts:
            clause_id = result.clauses[0] if result.clauses else ""
            key = (clause_id, result.verdict, result.level, signature(result))
            groups.setdefault(key, []).append(result)
    known = clauses()
    made = [
        Cluster(
            clause=known.get(clause_id),
            clause_id=clause_id,
            verdict=verdict,
            level=level,
            what=what,
            results=tuple(sorted(inside, key=lambda r: (len(r.full_id), r.full_id))),
        )
        for (clause_id, verdict, level, what), inside in groups.items()
    ]
    return sorted(
        made,
        key=lambda c: (_LEVELS.index(c.level), -c.verdict.severity, -len(c.results), c.clause_id),
    )


def signature(result: CaseResult) -> str:
    """What makes failures alike besides clause and verdict: the op, else what was found without its numbers."""
    if result.op:
        return result.op
    found = re.sub(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+", "#", plain(result.found, 120))
    return found or result.area
