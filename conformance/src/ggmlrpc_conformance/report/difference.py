"""What changed between two runs, case by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ggmlrpc_conformance.report.text import count, plain
from ggmlrpc_conformance.results import CaseResult, Run, Verdict

MOVED = 2.0
"""Error ratio from which a case that passes both times counts as moved."""


class Change(StrEnum):
    """What became of a case, in the order of telling."""

    REGRESSED = "regressed"
    FIXED = "fixed"
    CHANGED = "changed"  # one kind of bad or of good for another
    MOVED = "moved"  # passes, with another error
    NEW = "new"
    GONE = "gone"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Step:
    """One case in both runs.

    Attributes:
        key: id with dialect and device, and target where the runs have several.
        old, new: None where a run does not have it, or left it out.
    """

    key: str
    change: Change
    old: CaseResult | None
    new: CaseResult | None

    @property
    def line(self) -> str:
        """For people."""
        if self.old is None or self.new is None:
            one = self.new or self.old
            assert one is not None
            return f"{self.change}: {plain(self.key)} ({one.verdict})"
        text = f"{self.change}: {plain(self.key)} ({self.old.verdict} to {self.new.verdict})"
        if self.change is Change.MOVED:
            assert self.old.accuracy is not None and self.new.accuracy is not None
            return f"{text} nmse {self.old.accuracy.nmse:.3g} to {self.new.accuracy.nmse:.3g}"
        return text + (f": {plain(self.new.found, 120)}" if self.new.found else "")


@dataclass(frozen=True, slots=True)
class Difference:
    """All cases of two runs.

    Attributes:
        note: why the comparison is not of like with like; empty when it is.
    """

    steps: tuple[Step, ...]
    note: str

    def of(self, change: Change) -> list[Step]:
        """The cases with one change."""
        return [s for s in self.steps if s.change is change]

    def lines(self) -> Iterator[str]:
        """Regressions first; what is the same is only counted."""
        if self.note:
            yield self.note
        for change in Change:
            if change is not Change.SAME:
                yield from (step.line for step in self.of(change))
        yield ", ".join(f"{change} {len(self.of(change)):,}" for change in Change)


def difference(old: Run, new: Run) -> Difference:
    """Compare; only cases that both runs judged can regress."""
    before, after = _by_key(old), _by_key(new)
    keys = sorted(before.keys() | after.keys())
    steps = tuple(_step(key, before.get(key), after.get(key)) for key in keys)
    notes = []
    if old.info.suite != new.info.suite:
        notes.append(f"suites differ: {plain(old.info.suite)} and {plain(new.info.suite)}")
    notes += [
        f"the {name} run was interrupted after {count(len(run.results), 'case')}"
        for name, run in (("old", old), ("new", new))
        if not run.info.complete
    ]
    return Difference(steps, "; ".join(notes))


def _by_key(run: Run) -> dict[str, CaseResult]:
    """Results that were run; the target is part of the key when there are several."""
    several = len({r.target for r in run.results}) > 1
    return {
        (f"{r.target} " if several else "") + r.full_id: r
        for r in run.results
        if r.verdict not in (Verdict.SKIP, Verdict.NOTRUN)
    }


def _step(key: str, old: CaseResult | None, new: CaseResult | None) -> Step:
    if old is None:
        return Step(key, Change.NEW, old, new)
    if new is None:
        return Step(key, Change.GONE, old, new)
    return Step(key, _change(old, new), old, new)


def _change(old: CaseResult, new: CaseResult) -> Change:
    was, now = old.verdict, new.verdict
    if was in _SAYS_NOTHING or now in _SAYS_NOTHING:
        return Change.SAME if was is now else Change.CHANGED
    if _holds(was) != _holds(now):
        return Change.FIXED if _holds(now) else Change.REGRESSED
    if was is not now:
        worse = now in (Verdict.HANG, Verdict.CRASH) and now.severity > was.severity
        return Change.REGRESSED if worse else Change.CHANGED
    if old.accuracy is not None and new.accuracy is not None and now.good:
        low, high = sorted((old.accuracy.nmse, new.accuracy.nmse))
        if high >= MOVED * low and high > 0:
            return Change.MOVED
    return Change.SAME


_SAYS_NOTHING = (Verdict.INFO, Verdict.HARNESS_ERROR)


def _holds(verdict: Verdict) -> bool:
    """The clause is kept; a known deviation that passed keeps it too, one that failed does not."""
    return verdict.good or verdict is Verdict.XPASS
