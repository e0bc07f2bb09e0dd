"""Counts of verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ggmlrpc_conformance.results import CaseResult, Level, Run, TargetInfo, Verdict

AREAS = (
    "wire", "cmd", "state", "op", "graph", "session", "bad", "conc", "fault", "limit", "leak", "perf", "meta",
)  # fmt: skip
"""In the order of reading; others follow."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many cases of each verdict."""

    counts: Counter[Verdict]

    @property
    def good(self) -> int:
        """Cases that kept their clause."""
        return sum(n for v, n in self.counts.items() if v.good)

    @property
    def bad(self) -> int:
        """Cases that broke it, the target being to blame."""
        return sum(n for v, n in self.counts.items() if v.bad)

    @property
    def scored(self) -> int:
        """Cases that count: all that were run and judged, without refusals and known deviations."""
        unscored = (Verdict.UNSUPPORTED, Verdict.XFAIL, Verdict.FLAKY)
        return sum(n for v, n in self.counts.items() if v.judged and v not in unscored)

    @property
    def total(self) -> int:
        """Cases of any verdict."""
        return self.counts.total()

    def __getitem__(self, verdict: Verdict) -> int:
        return self.counts[verdict]


def tally(results: Iterable[CaseResult]) -> Tally:
    """Count."""
    return Tally(Counter(r.verdict for r in results))


def of_level(results: Iterable[CaseResult], level: Level) -> Tally:
    """Count the cases of one level."""
    return tally(r for r in results if r.level is level)


def by_area(results: tuple[CaseResult, ...]) -> Iterator[tuple[str, dict[Level, Tally]]]:
    """Counts by area and level, in the order of reading."""
    areas = {r.area for r in results}
    known = [a for a in AREAS if a in areas]
    for area in [*known, *sorted(areas - set(known))]:
        inside = [r for r in results if r.area == area]
        yield area, {level: of_level(inside, level) for level in Level}


def worst(results: Iterable[CaseResult]) -> Verdict:
    """The most severe verdict; SKIP for none."""
    return max((r.verdict for r in results), key=lambda v: v.severity, default=Verdict.SKIP)


def of_target(run: Run, target: TargetInfo) -> tuple[CaseResult, ...]:
    """The results of one target."""
    return tuple(r for r in run.results if r.target == target.label)


def all_targets(run: Run) -> tuple[TargetInfo, ...]:
    """The targets of a run, each label once: a server that is started once per dialect is one target.

    Those that only results name come last.
    """
    merged: dict[str, TargetInfo] = {}
    for target in run.info.targets:
        first = merged.get(target.label)
        merged[target.label] = target if first is None else _merged(first, target)
    for result in run.results:
        merged.setdefault(result.target, TargetInfo(result.target))
    return tuple(merged.values())


def _merged(first: TargetInfo, other: TargetInfo) -> TargetInfo:
    """One target that announces several versions, separated by commas."""
    versions = dict.fromkeys(v for v in (*first.version.split(", "), other.version) if v)
    dialects = dict.fromkeys((*first.dialects, *other.dialects))
    return replace(first, version=", ".join(versions), dialects=tuple(dialects))
