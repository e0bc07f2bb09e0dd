"""The answer to "will my llama.cpp work?", and the numbers under it. One text for terminal, page and summary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ggmlrpc_conformance.report.cells import HeatMap, heat_map
from ggmlrpc_conformance.report.clients import ClientRow, Outcome, client_rows
from ggmlrpc_conformance.report.clusters import clusters
from ggmlrpc_conformance.report.tally import Tally, of_level, of_target, tally
from ggmlrpc_conformance.report.text import count, joined, listed, plain
from ggmlrpc_conformance.results import CaseResult, Level, Run, TargetInfo, Verdict

BAD = frozenset({Verdict.FAIL, Verdict.HANG, Verdict.CRASH})
BROKEN = BAD | {Verdict.XFAIL}
"""A deviation that is known breaks a client all the same."""


class Answer(StrEnum):
    """In one word."""

    YES = "yes"
    PROBABLY = "probably"
    PARTLY = "partly"
    NO = "no"
    UNKNOWN = "not shown"


@dataclass(frozen=True, slots=True)
class Headline:
    """What a person sees first, of one target.

    Attributes:
        answer, why: "yes", and what it rests on.
        warning: an interrupted run, or a harness that was at fault; empty for none.
        numbers: lines of counts.
        faults: one line per group of failures, worst first.
    """

    target: TargetInfo
    answer: Answer
    why: str
    warning: str
    numbers: tuple[str, ...]
    faults: tuple[str, ...]

    def lines(self, most_faults: int = 6) -> list[str]:
        """As text, one line each."""
        out = [f"Will my llama.cpp work?  {self.answer}: {self.why}"]
        if self.warning:
            out.insert(0, self.warning)
        out += self.numbers
        out += [f"  {fault}" for fault in self.faults[:most_faults]]
        if len(self.faults) > most_faults:
            out.append(f"  and {len(self.faults) - most_faults} more kinds of failure")
        return [plain(line, 2000) for line in out]


def headline(run: Run, target: TargetInfo) -> Headline:
    """Make it from the results of one target."""
    results = of_target(run, target)
    rows = client_rows(target, results)
    musts = of_level(results, Level.MUST)
    answer, why = _answer(rows, results, musts)
    if not run.info.complete:  # what did not run might have said otherwise
        answer = {Answer.YES: Answer.PROBABLY, Answer.PROBABLY: Answer.UNKNOWN}.get(answer, answer)
    return Headline(
        target=target,
        answer=answer,
        why=why,
        warning=_warning(run, results),
        numbers=tuple(_numbers(results, musts)),
        faults=tuple(_faults(results)),
    )


def terminal_lines(run: Run, target: TargetInfo) -> list[str]:
    """The headline with a first line that says what was tested by what."""
    info = run.info
    says = f"announces {target.version}" if target.version else "announces no version"
    seconds = f"   {info.seconds:.0f} s" if info.seconds else ""
    head = f"{target.label}   {says}   suite {info.suite}   tier {info.tier}{seconds}"
    return [plain(head, 2000), *headline(run, target).lines()]


def _answer(
    rows: list[ClientRow], results: tuple[CaseResult, ...], musts: Tally
) -> tuple[Answer, str]:
    replayed = [r for r in rows if r.sessions]
    works = [r.label for r in replayed if r.outcome is Outcome.WORKS]
    broken = [r for r in replayed if r.outcome in (Outcome.PARTLY, Outcome.BREAKS)]
    sessions = sum(len(r.sessions) for r in replayed)
    faults = [r for r in results if r.level is Level.MUST and r.verdict in BROKEN]
    clause_ids = listed(sorted({r.clauses[0] for r in faults if r.clauses}))
    if broken:
        first, labels = broken[0], [r.label for r in broken]
        note = f"{first.label}: {first.note}"
        if works:
            why = f"clients of {joined(works)} work; those of {joined(labels)} do not ({note})"
        else:
            why = f"clients of {joined(labels)} do not ({note})"
        any_good = works or any(r.outcome is Outcome.PARTLY for r in broken)
        return Answer.PARTLY if any_good else Answer.NO, why
    if works:
        why = f"clients of {joined(works)}; {count(sessions, 'recorded session')} replayed"
        if not faults:
            return Answer.YES, why
        return Answer.PARTLY, f"{why}, but {count(len(faults), 'MUST case')} failed: {clause_ids}"
    if faults:
        return Answer.NO, f"broken, and clients depend on it: {clause_ids}"
    if musts.good:
        return (
            Answer.PROBABLY,
            f"all {count(musts.good, 'MUST case')} that ran passed, but no recorded client was replayed",
        )
    return Answer.UNKNOWN, "no recorded client was replayed, and no MUST case was judged"


def _warning(run: Run, results: tuple[CaseResult, ...]) -> str:
    errors = tally(results)[Verdict.HARNESS_ERROR]
    ran = len(run.results)
    if not run.info.complete:
        of = f" of {run.info.selected:,}" if run.info.selected else ""
        return f"INTERRUPTED: {ran:,}{of} cases ran; what follows is about those"
    if lost := tally(results)[Verdict.NOTRUN]:
        return f"UNDECIDED: {count(lost, 'case was', 'cases were')} not run, because no server was left"
    if errors:
        return f"THE SUITE FAILED in {count(errors, 'case')}: these say nothing of the server"
    return ""


def _numbers(results: tuple[CaseResult, ...], musts: Tally) -> list[str]:
    everything, shoulds = tally(results), of_level(results, Level.SHOULD)
    parts = [
        f"MUST {musts.good:,}/{musts.scored:,}",
        f"SHOULD {shoulds.good:,}/{shoulds.scored:,}",
    ]
    shown = (Verdict.CRASH, Verdict.HANG)
    more = (
        Verdict.QUALITY, Verdict.NONSTRICT, Verdict.UNSUPPORTED, Verdict.FLAKY, Verdict.XFAIL, Verdict.XPASS,
        Verdict.HARNESS_ERROR,
    )  # fmt: skip
    parts += [f"{v} {everything[v]:,}" for v in shown]
    parts += [f"{v} {everything[v]:,}" for v in more if everything[v]]
    lines = ["   ".join(parts)]
    heat = heat_map(results)
    if heat.cells:
        lines.append(ops_line(heat))
    return lines


def ops_line(heat: HeatMap) -> str:
    """'ops 598 of 598 cells; worst error 0.31 of the limit (MUL_MAT Q4_0 F32)'."""
    line = f"ops {heat.good:,} of {len(heat.cells):,} cells of op and types"
    compared = [c for c in heat.cells if c.share is not None]
    if compared:
        top = max(compared, key=lambda c: c.share or 0.0)
        share = top.share or 0.0
        error = f"{share:.2g} of the limit" if math.isfinite(share) else "beyond any limit"
        line += f"; worst error {error} ({plain(top.op)} {plain(top.types)})"
    return line


def _faults(results: tuple[CaseResult, ...]) -> list[str]:
    return [
        f"{c.level} {c.clause_id} {c.verdict} ({count(len(c.results), 'case')}): {plain(c.what, 80)}, "
        f"first {c.results[0].full_id}"
        for c in clusters(results, BAD)
    ]
