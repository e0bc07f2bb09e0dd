"""Write docs/reference/conformance/ from the results of runs against known servers.

    python conformance/server_pages.py docs/reference/conformance NAME=results.jsonl ...

Why a case fails is taken from the suite's list of known deviations of that name, where there is one and it names the
case, else from the clause.

A page per server, with every failure and why it is one, and an index. How the runs are made is in the index.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from ggmlrpc_conformance.clauses import clauses
from ggmlrpc_conformance.known import Deviation, read_known
from ggmlrpc_conformance.report.clients import client_rows
from ggmlrpc_conformance.report.headline import headline
from ggmlrpc_conformance.report.tally import all_targets, by_area, of_level, of_target, tally
from ggmlrpc_conformance.report.text import markdown
from ggmlrpc_conformance.results import CaseResult, Level, Run, TargetInfo, Verdict, read_run

NOTE = "<!-- made by conformance/server_pages.py; do not edit -->\n\n"

INDEX = """\
# What servers do

Runs of the conformance suite, default tier, with destructive cases, against servers that it started itself. What the
words mean is in [how to read a report](../../howto/read-a-conformance-report.md), what the clauses say in
[the specification](../protocol/index.md).

"""

BROKEN = (Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.XFAIL)


def main() -> None:
    """Write the pages."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for word in sys.argv[2:]:
        name, _, path = word.partition("=")
        with Path(path).open(encoding="utf-8") as file:
            run = read_run(file)
        (target,) = all_targets(run)
        rows.append(index_row(name, run, target))
        (folder / f"{name}.md").write_text(server_page(name, run, target), encoding="utf-8")
    columns = ("server", "announces", "answer", "MUST", "SHOULD", "ended the process", "sessions")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    (folder / "index.md").write_text(NOTE + INDEX + head + "".join(rows), encoding="utf-8")


def index_row(name: str, run: Run, target: TargetInfo) -> str:
    """A server in one line."""
    results = of_target(run, target)
    must, should = of_level(results, Level.MUST), of_level(results, Level.SHOULD)
    sessions = tally(r for r in results if r.area == "session" and r.verdict.judged)
    cells = [
        f"[{name}]({name}.md)",
        target.version or "no version",
        headline(run, target).answer,
        f"{must.good}/{must.scored}",
        f"{should.good}/{should.scored}",
        f"{sum(r.crash is not None for r in results)} cases",
        f"{sessions.good}/{sessions.total}",
    ]
    return "| " + " | ".join(cells) + " |\n"


def server_page(name: str, run: Run, target: TargetInfo) -> str:
    """Headline, sessions, areas, and every failure by clause."""
    results, head = of_target(run, target), headline(run, target)
    out = [NOTE, f"# {name}\n\n"]
    if target.command:
        program, _, options = target.command.partition(" ")
        out.append(f"`{Path(program).name} {options}`, dialect {', '.join(target.dialects)}.\n\n")
    out.append(f"Will my llama.cpp work? **{head.answer}**: {markdown(head.why)}.\n\n")
    out += [f"{markdown(line)}\n\n" for line in head.numbers]
    played = [r for r in client_rows(target, results) if r.sessions]
    for row in played:
        names = ", ".join(f"{s.case_id.partition('.')[2]} ({s.verdict})" for s in row.sessions)
        out.append(f"Recorded sessions of {row.label}: {markdown(names, 4000)}.\n\n")
    out.append("| area | MUST | SHOULD | MAY |\n|---|---|---|---|\n")
    for area, levels in by_area(results):
        cells = [f"{levels[x].good}/{levels[x].scored}" if levels[x].scored else "" for x in Level]
        out.append(f"| {area} | {' | '.join(cells)} |\n")
    out.append("\n" + failures(results, deviations(name)))
    out.append(not_judged(results))
    return "".join(out).rstrip() + "\n"


def deviations(name: str) -> list[Deviation]:
    """The list of that name; empty when there is none."""
    try:
        return read_known(name)
    except FileNotFoundError:
        return []


def failures(results: tuple[CaseResult, ...], known: list[Deviation]) -> str:
    """Every case that broke its clause, by clause, with the reason."""
    broken: dict[str, list[CaseResult]] = {}
    for result in results:
        if result.verdict in BROKEN:
            broken.setdefault(result.clauses[0], []).append(result)
    if not broken:
        return "## Failures\n\nNone.\n\n"
    out = ["## Failures\n\n"]
    for clause_id, clause in clauses().items():
        if clause_id not in broken:
            continue
        link = f"../protocol/{clause.page}.md#{clause_id.lower()}"
        out.append(f"### {clause_id}\n\n[{clause.level}]({link}): {clause.text}\n\n")
        reasons = dict.fromkeys(reason(r, known) or clause.why for r in broken[clause_id])
        out.append(f"*Why it fails:* {' '.join(reasons)}\n\n")
        out.append("| case | what | found |\n|---|---|---|\n")
        out += [
            f"| `{r.case_id}` | {markdown(r.title, 120)} | {markdown(found(r), 120)} |\n"
            for r in sorted(broken[clause_id], key=lambda r: r.case_id)
        ]
        out.append("\n")
    return "".join(out)


def reason(result: CaseResult, known: list[Deviation]) -> str:
    """What the list says of a case, without the clause that it begins with."""
    for entry in known:
        if entry.names(result.case_id, result.dialect):
            return entry.reason.partition(": ")[2] or entry.reason
    return ""


def found(result: CaseResult) -> str:
    """The end of the process, or what was found; the reason where the failure is listed as known."""
    text = result.found
    if result.crash is not None and result.crash.exit:
        text = f"the process ends ({result.crash.exit})"
    return f"{text}; {result.reason}" if result.reason else text


def not_judged(results: tuple[CaseResult, ...]) -> str:
    """What was left out, and why."""
    reasons = Counter(
        result.reason or result.verdict.value for result in results if not result.verdict.judged
    )
    if not reasons:
        return ""
    lines = [f"- {markdown(reason, 200)}: {n}\n" for reason, n in reasons.most_common()]
    return "## Not judged\n\n" + "".join(lines) + "\n"


if __name__ == "__main__":
    main()
