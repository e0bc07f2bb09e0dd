"""The HTML page: one file that needs nothing else, works without a network and without scripts.

The template escapes everything, and the page forbids itself to load or run anything but its own style and script.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from ggmlrpc_conformance.clauses import clauses
from ggmlrpc_conformance.report import tally as counts
from ggmlrpc_conformance.report.badge import badge
from ggmlrpc_conformance.report.baseline import Known
from ggmlrpc_conformance.report.cells import STEPS, Cell, HeatMap, heat_map
from ggmlrpc_conformance.report.clients import ClientRow, client_rows, stages_of
from ggmlrpc_conformance.report.clusters import Cluster, clusters
from ggmlrpc_conformance.report.headline import BAD, Headline, headline, ops_line
from ggmlrpc_conformance.report.kept import ClauseRow, clause_rows
from ggmlrpc_conformance.report.malformed import MalformedRow, malformed_rows, stock_names
from ggmlrpc_conformance.report.text import count, lines, plain
from ggmlrpc_conformance.results import CaseResult, Level, Run, TargetInfo, Verdict

SHOWN_CASES = 3
"""Cases of a group of failures that are shown with their messages; the others by id."""
LISTED_CASES = 60

OTHER = frozenset({Verdict.FLAKY, Verdict.HARNESS_ERROR, Verdict.XPASS})
REFUSED = frozenset({Verdict.UNSUPPORTED})
WITHIN = frozenset({Verdict.QUALITY, Verdict.NONSTRICT})


@dataclass(frozen=True, slots=True)
class TargetView:
    """All that the template shows of one target.

    Attributes:
        number: 1 for the first, for anchors.
        areas: area, tally by level, and the others of its verdicts as text.
        groups: of failures.
        others: of flaky cases, stale lists and the suite's own errors.
        folded: what is shown in one fold each: refused ops, and cases that passed outside the stricter limit.
        known: cases that failed as a reviewed list says.
        not_judged: reason to number of cases.
    """

    number: int
    target: TargetInfo
    head: Headline
    clients: list[ClientRow]
    stages: list[str]
    areas: list[tuple[str, dict[Level, counts.Tally], str]]
    heat: HeatMap
    groups: list[Cluster]
    others: list[Cluster]
    folded: list[tuple[str, list[Cluster]]]
    clauses: list[ClauseRow]
    known: list[CaseResult]
    malformed: list[MalformedRow]
    stock: list[str]
    not_judged: list[tuple[str, int]]


def page(run: Run, known: Mapping[str, Known]) -> str:
    """The whole page.

    Args:
        run: results.
        known: what stock servers did, by id with dialect and device.
    """
    script = _text("page.js")
    return _template().render(
        run=run,
        views=[
            _view(number, run, target, known)
            for number, target in enumerate(counts.all_targets(run), 1)
        ],
        badge=Markup(badge(run)),
        style=Markup(_text("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(plain=plain, lines=lines, number=_number, icon=icon, listed=list)
    environment.globals.update(
        count=count, cell_style=cell_style, cell_title=cell_title, clause=clauses().get,
        shown_cases=SHOWN_CASES, listed_cases=LISTED_CASES, levels=tuple(Level), steps=STEPS,
        ops_line=ops_line, step_mark=step_mark,
    )  # fmt: skip
    return environment.from_string(_text("page.html.j2"))


def _text(name: str) -> str:
    folder = resources.files(__package__) / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _view(number: int, run: Run, target: TargetInfo, known: Mapping[str, Known]) -> TargetView:
    results = counts.of_target(run, target)
    clients = client_rows(target, results)
    return TargetView(
        number=number,
        target=target,
        head=headline(run, target),
        clients=clients,
        stages=stages_of(clients),
        areas=[
            (area, levels, _rest(r for r in results if r.area == area))
            for area, levels in counts.by_area(results)
        ],
        heat=heat_map(results, known),
        groups=clusters(results, BAD),
        others=clusters(results, OTHER),
        folded=_folded(results),
        clauses=clause_rows(results),
        known=[r for r in results if r.verdict is Verdict.XFAIL],
        malformed=malformed_rows(results, known),
        stock=stock_names(results, known),
        not_judged=_not_judged(run, results),
    )


def _folded(results: tuple[CaseResult, ...]) -> list[tuple[str, list[Cluster]]]:
    folds = []
    for verdicts, one, several in (
        (REFUSED, "case was refused, the server living on", "cases were refused, the server living on"),
        (WITHIN, "case passed, but not inside the stricter limit", "cases passed, but not inside the stricter limit"),
    ):  # fmt: skip
        if inside := clusters(results, verdicts):
            folds.append((count(sum(len(c.results) for c in inside), one, several), inside))
    return folds


def _rest(results: Iterable[CaseResult]) -> str:
    """'UNSUPPORTED 3, SKIP 2': the verdicts that are neither PASS nor bad."""
    found = Counter(r.verdict for r in results)
    return ", ".join(
        f"{verdict} {found[verdict]:,}"
        for verdict in sorted(found, key=lambda v: -v.severity)
        if verdict is not Verdict.PASS and not verdict.bad
    )


def _not_judged(run: Run, results: tuple[CaseResult, ...]) -> list[tuple[str, int]]:
    reasons: Counter[str] = Counter()
    for result in results:
        if result.verdict in (Verdict.SKIP, Verdict.NOTRUN, Verdict.INFO):
            reasons[f"{result.verdict}: {result.reason or result.found or 'no reason given'}"] += 1
    reasons.update({f"not selected: {reason}": n for reason, n in run.info.left_out.items()})
    return reasons.most_common()


# --- what the template calls

_ICONS = {
    Verdict.PASS: "✓", Verdict.QUALITY: "≈", Verdict.NONSTRICT: "≈", Verdict.UNSUPPORTED: "∅", Verdict.FLAKY: "~",
    Verdict.XPASS: "!", Verdict.FAIL: "✗", Verdict.HANG: "…", Verdict.CRASH: "✱", Verdict.HARNESS_ERROR: "!",
    Verdict.INFO: "i", Verdict.XFAIL: "⊘", Verdict.SKIP: "–", Verdict.NOTRUN: "–",
}  # fmt: skip


def icon(verdict: Verdict) -> str:
    """A sign that does not need colour to be read."""
    return _ICONS[verdict]


def step_mark(row: ClientRow, stage: str) -> tuple[str, str]:
    """Sign and word of a stage of a client."""
    verdict = row.stages.get(stage)
    return ("", "") if verdict is None else (icon(verdict), verdict.value)


def cell_style(cells: list[Cell]) -> str:
    """Classes of a field of the heat map."""
    if not cells:
        return "none"
    top = max(cells, key=lambda c: (c.verdict.severity, c.shade))
    if top.verdict.good:
        return f"good s{top.shade}"
    if top.verdict.bad:
        return "bad"
    return {Verdict.UNSUPPORTED: "refused"}.get(top.verdict, "other")


def cell_title(cells: list[Cell]) -> str:
    """What a field says when it is pointed at."""
    return "\n".join(
        f"{plain(c.op)} {plain(c.types)}: {c.passed} of {c.total}, {c.verdict}"
        + (
            ""
            if c.share is None
            else f", error {_number(c.share)} of the limit ({plain(c.worst_id)})"
        )
        for c in cells
    )


def _number(value: float) -> str:
    """Three digits at most."""
    if not math.isfinite(value):
        return "beyond measure"
    return f"{value:.2g}"
