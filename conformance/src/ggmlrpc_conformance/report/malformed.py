"""What the server did with input that no client sends, beside what stock servers do with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ggmlrpc_conformance.report.baseline import Known
from ggmlrpc_conformance.results import CaseResult, Ending, Verdict

WORDS = {
    Ending.CLOSED: "refused",
    Ending.RESET: "refused",
    Ending.KEPT: "went on",
    Ending.HUNG: "hung",
    Ending.DIED: "server died",
}


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """One input.

    Attributes:
        outcome: refused, went on, hung, server died, or the verdict where the case does not judge the ending.
        stock: the same of the stock server of the dialect; empty when it is not known.
        stock_bad: whether the clause was broken there.
    """

    result: CaseResult
    outcome: str
    stock: str
    stock_bad: bool

    @property
    def notable(self) -> bool:
        """The clause is broken here or there."""
        return self.stock_bad or not self.result.verdict.good


def malformed_rows(results: Iterable[CaseResult], known: Mapping[str, Known]) -> list[MalformedRow]:
    """A row per case of bad input: those that this server breaks, then those that stock breaks, then the others."""
    rows = []
    for result in results:
        if not _is_malformed(result) or result.verdict is Verdict.SKIP:
            continue
        stock = known.get(result.full_id)
        rows.append(
            MalformedRow(
                result=result,
                outcome=_outcome(result.ending, result.verdict),
                stock="" if stock is None else _outcome(stock.ending, stock.verdict),
                stock_bad=stock is not None and stock.verdict.bad,
            )
        )
    return sorted(
        rows, key=lambda r: (-r.result.verdict.severity, not r.stock_bad, r.result.full_id)
    )


def stock_names(results: Iterable[CaseResult], known: Mapping[str, Known]) -> list[str]:
    """The servers behind the stock column."""
    return sorted(
        {known[r.full_id].name for r in results if _is_malformed(r) and r.full_id in known}
    )


def _is_malformed(result: CaseResult) -> bool:
    return result.area == "bad" or any(c.startswith("SAFE-") for c in result.clauses)


def _outcome(ending: Ending, verdict: Verdict) -> str:
    if verdict is Verdict.CRASH:
        return WORDS[Ending.DIED]
    if verdict is Verdict.HANG:
        return WORDS[Ending.HUNG]
    return WORDS.get(ending, verdict.value)
