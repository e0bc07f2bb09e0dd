"""Which stock clients work with a server: what was replayed, and what follows from versions.

A client stays when the announced major is its own and the minor is not above its own (HELLO-10); the length of HELLO
divides versions before that. Recorded sessions say the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from ggmlrpc_conformance.clauses.load import version_of
from ggmlrpc_conformance.report.tally import worst
from ggmlrpc_conformance.report.text import count
from ggmlrpc_conformance.results import CaseResult, TargetInfo, Verdict
from ggmlrpc_core.wire.dialects import wire_states
from ggmlrpc_core.wire.spans import spans
from ggmlrpc_core.wire.version import ProtocolVersion, V

FIRST_HELLO = V(1, 0)
FIRST_CAPS = V(4, 0)


STAGES = ("connect", "load", "compute", "prefill", "generate", "recompute", "quit")
"""In the order of a session; others follow."""


class Outcome(StrEnum):
    """What becomes of a client."""

    WORKS = "works"  # every replayed session did
    PARTLY = "partly"  # some sessions did
    BREAKS = "breaks"  # none did
    EXPECTED = "expected"  # it is accepted, and speaks the same; nothing was replayed
    REJECTED = "rejected"  # it leaves, or is closed, at HELLO
    UNKNOWN = "unknown"  # nothing says


_BEST_FIRST = (Outcome.EXPECTED, Outcome.UNKNOWN, Outcome.BREAKS, Outcome.REJECTED)

_NEWER_CLIENT = {
    ((5, 1), (5, 0)): (
        Outcome.EXPECTED,
        "it accepts 5.0.0, which ignores use counts; not replayed",
    ),
    ((3, 5), (3, 0)): (
        Outcome.BREAKS,
        "it accepts 3.0.0, and breaks at the answer to its first graph",
    ),
    ((3, 6), (3, 0)): (
        Outcome.BREAKS,
        "it accepts 3.0.0, and breaks at the answer to its first graph",
    ),
    ((3, 6), (3, 5)): (Outcome.BREAKS, "it accepts 3.5.0, and breaks at its first GET_ALLOC_SIZE"),
}
"""Clients that accept an older minor, by versions of client and server: what follows from the layouts."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One client version against one server.

    Attributes:
        label: dialect without date, "3.6.1".
        dates: when llama.cpp had it, "2026-03-10 to 2026-04-15".
        note: one sentence.
        stages: stage to the worst verdict of all sessions that have it.
        sessions: that were replayed.
    """

    label: str
    dates: str
    outcome: Outcome
    note: str
    stages: dict[str, Verdict] = field(default_factory=dict)
    sessions: tuple[CaseResult, ...] = ()


def client_rows(target: TargetInfo, results: Iterable[CaseResult]) -> list[ClientRow]:
    """A row per wire state of upstream, newest first; the fork's only when it was replayed."""
    replayed: dict[str, list[CaseResult]] = {}
    for result in results:
        if result.area == "session" and result.verdict is not Verdict.SKIP:
            replayed.setdefault(result.dialect.partition("@")[0], []).append(result)
    rows, seen = [], set()
    for state in reversed(wire_states()):
        label = state.label
        seen.add(label)
        sessions = replayed.get(label, [])
        if sessions:
            rows.append(_replayed(label, _dates(label), sessions))
        elif not state.fork:
            rows.append(_judged(label, state.version, target))
    strange = sorted(set(replayed) - seen)
    return rows + [_replayed(label, "", replayed[label]) for label in strange]


@cache
def _dates(label: str) -> str:
    """First and last day of a version, over its numberings."""
    inside = [s for s in spans() if s.label == label]
    if not inside:
        return ""
    last = inside[-1].end
    return f"{inside[0].first} to {last}" if last else f"from {inside[0].first}"


def _replayed(label: str, dates: str, sessions: list[CaseResult]) -> ClientRow:
    stages: dict[str, Verdict] = {}
    for session in sessions:
        for stage, verdict in session.steps.items():
            known = stages.get(stage, Verdict.SKIP)
            stages[stage] = max(known, verdict, key=lambda v: v.severity)
    good = [s for s in sessions if s.verdict.good or s.verdict is Verdict.XPASS]
    unknown = [s for s in sessions if not s.verdict.judged]
    if len(good) == len(sessions):
        outcome, note = Outcome.WORKS, f"{count(len(sessions), 'recorded session')} replayed"
    elif len(unknown) == len(sessions):
        outcome, note = Outcome.UNKNOWN, "no session could be replayed"
    else:
        failed = [s for s in sessions if s.verdict.judged and s not in good]
        outcome = Outcome.PARTLY if good else Outcome.BREAKS
        note = f"{len(good)} of {len(sessions)} recorded sessions"
        if failed:
            first = next((s for s, v in failed[0].steps.items() if not v.good), "")
            note += f"; {failed[0].case_id} fails" + (f" at {first}" if first else "")
        if worst(sessions) is Verdict.FLAKY:
            note += "; flaky"
    return ClientRow(label, dates, outcome, note, stages, tuple(sessions))


def _judged(label: str, client: ProtocolVersion, target: TargetInfo) -> ClientRow:
    """What follows from the announced versions alone: the best, where the target has several."""
    dates = _dates(label)
    if label in {name.partition("@")[0] for name in target.dialects}:
        return ClientRow(label, dates, Outcome.EXPECTED, "its dialect is served; not replayed")
    announced = _announced(target)
    if not announced:
        if client >= FIRST_HELLO and target.dialects:
            return ClientRow(label, dates, Outcome.REJECTED, "HELLO is unknown to the server")
        return ClientRow(label, dates, Outcome.UNKNOWN, "the server announced nothing")
    nearest = min(announced, key=lambda server: _distance(client, server))
    return ClientRow(label, dates, *_against(client, nearest))


def _distance(client: ProtocolVersion, server: ProtocolVersion) -> tuple[int, bool, bool]:
    """The best outcome first; of rejections the one that comes latest in HELLO."""
    outcome, _ = _against(client, server)
    same_length = (client < FIRST_CAPS) == (server < FIRST_CAPS)
    return _BEST_FIRST.index(outcome), client.major != server.major, not same_length


def _against(client: ProtocolVersion, server: ProtocolVersion) -> tuple[Outcome, str]:
    """A client and a server whose dialect was not named."""
    if client < FIRST_HELLO:
        return Outcome.REJECTED, "it does not send HELLO: closed at its first byte"
    if (client < FIRST_CAPS) != (server < FIRST_CAPS):
        return Outcome.REJECTED, "its HELLO has another length: closed"
    if client.major != server.major:
        return Outcome.REJECTED, f"it leaves: the server announces {server}"
    if client.minor < server.minor:
        note = f"it leaves: the server announces {server}, whose minor is higher"
        return Outcome.REJECTED, note
    if client.minor > server.minor:
        return _NEWER_CLIENT.get(
            (client[:2], server[:2]), (Outcome.UNKNOWN, f"it accepts {server}, which is older")
        )
    if client.patch != server.patch:
        return Outcome.UNKNOWN, "accepted, but numbers of ops may differ; not replayed"
    return Outcome.EXPECTED, "it speaks what the server announces; not replayed"


def _announced(target: TargetInfo) -> list[ProtocolVersion]:
    found = []
    for text in target.version.split(", "):
        with contextlib.suppress(ValueError):
            found.append(version_of(text))
    return found


def stages_of(rows: Iterable[ClientRow]) -> list[str]:
    """Columns: every stage of any session, in the order of a session."""
    found = dict.fromkeys(stage for row in rows for s in row.sessions for stage in s.steps)
    return [*(s for s in STAGES if s in found), *(s for s in found if s not in STAGES)]
