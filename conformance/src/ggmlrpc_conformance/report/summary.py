"""The Markdown summary, for a pull request or the summary of a step in continuous integration."""

from __future__ import annotations

from ggmlrpc_conformance.report.clients import client_rows
from ggmlrpc_conformance.report.clusters import clusters
from ggmlrpc_conformance.report.headline import BAD, headline
from ggmlrpc_conformance.report.tally import all_targets, by_area, of_target
from ggmlrpc_conformance.report.text import markdown
from ggmlrpc_conformance.results import CaseResult, Level, Run, TargetInfo, Verdict

MOST_CLUSTERS = 20


def summary(run: Run) -> str:
    """The whole run, a section per target."""
    return "\n".join(_target(run, target) for target in all_targets(run))


def _target(run: Run, target: TargetInfo) -> str:
    results, head = of_target(run, target), headline(run, target)
    out = [f"## Conformance of {markdown(target.label)}\n"]
    if head.warning:
        out.append(f"**{markdown(head.warning)}.**\n")
    out.append(f"Will my llama.cpp work? **{head.answer}**: {markdown(head.why)}\n")
    out += [f"{markdown(line)}\n" for line in head.numbers]
    rows = [r for r in client_rows(target, results) if r.sessions or r.outcome == "expected"]
    if rows:
        out += ["| client | outcome | |", "|---|---|---|"]
        out += [f"| {markdown(r.label)} | {r.outcome} | {markdown(r.note)} |" for r in rows]
        out.append("")
    out += ["| area | MUST | SHOULD | MAY |", "|---|---|---|---|"]
    for area, levels in by_area(results):
        cells = [
            f"{levels[level].good}/{levels[level].scored}" if levels[level].scored else ""
            for level in Level
        ]
        out.append(f"| {markdown(area)} | {' | '.join(cells)} |")
    out.append("")
    found = clusters(results, BAD)
    if found:
        out += ["| failure | clause | cases | first |", "|---|---|---|---|"]
        for c in found[:MOST_CLUSTERS]:
            first = c.results[0]
            out.append(
                f"| {c.level} {c.verdict}: {markdown(c.what, 100)} | {markdown(c.clause_id)} "
                f"| {len(c.results)} | {markdown(first.full_id)} |"
            )
        if len(found) > MOST_CLUSTERS:
            out.append(f"\n{len(found) - MOST_CLUSTERS} more kinds of failure are in the page.")
        out.append("")
    out += _known(results)
    return "\n".join(out)


def _known(results: tuple[CaseResult, ...]) -> list[str]:
    """Known deviations with their reasons: cases that break the same clause for the same reason are one row."""
    groups: dict[tuple[str, str], list[CaseResult]] = {}
    for result in results:
        if result.verdict is Verdict.XFAIL:
            groups.setdefault(
                (result.clauses[0] if result.clauses else "", result.reason), []
            ).append(result)
    if not groups:
        return []
    out = ["| known deviation | clause | cases | found | first |", "|---|---|---|---|---|"]
    out += [
        f"| {markdown(reason)} | {markdown(clause)} | {len(inside)} | {markdown(inside[0].found, 100)} "
        f"| {markdown(inside[0].full_id)} |"
        for (clause, reason), inside in groups.items()
    ]
    return [*out, ""]
