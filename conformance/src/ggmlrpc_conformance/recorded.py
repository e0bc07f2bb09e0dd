"""Recorded sessions of stock clients as cases: each is replayed by ggmlrpc_core.recording and judged answer by answer.

sessions/<dialect>/<name>.ggrec.zip is the session `session.<name>` in that dialect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import resources
from pathlib import Path

from ggmlrpc_conformance.case import Case, Said, Tier
from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import NotApplicable
from ggmlrpc_conformance.results import Verdict
from ggmlrpc_conformance.target import Target

SUFFIX = ".ggrec.zip"
SMOKE = frozenset({"greedy-f32", "greedy-q4_0"})
TWO_DEVICES = frozenset({"devices-two"})

STAGES: Mapping[str, tuple[str, ...]] = {
    "connect": ("open", "HELLO", "DEVICE_COUNT", "GET_ALIGNMENT", "GET_MAX_SIZE", "GET_DEVICE_MEMORY"),
    "load": (
        "ALLOC_BUFFER", "BUFFER_GET_BASE", "BUFFER_CLEAR", "SET_TENSOR", "SET_TENSOR_HASH", "INIT_TENSOR",
        "GET_ALLOC_SIZE", "COPY_TENSOR", "MEMSET_TENSOR",
    ),
    "compute": ("GRAPH_COMPUTE", "GET_TENSOR"),
    "recompute": ("GRAPH_RECOMPUTE",),
    "quit": ("FREE_BUFFER", "close", "raw"),
}  # fmt: skip
"""Stages of a client's life, and the commands that show them."""


def session_cases() -> Iterator[Case]:
    """One for each name, in the dialects that have it."""
    found: dict[str, dict[str, Path]] = {}
    folder = Path(str(resources.files(__package__).joinpath("sessions")))
    for path in sorted(folder.glob(f"*/*{SUFFIX}")):
        found.setdefault(path.name.removesuffix(SUFFIX), {})[path.parent.name] = path
    for name, paths in sorted(found.items()):
        yield Case(
            id=f"session.{name}",
            title=f"a recorded stock client: {name}",
            clauses=("HELLO-2", "FRAME-3", "ORDER-1", "MEM-2", "GRAPH-1", "GRAPH-17", "OP-3"),
            body=partial(_replay, name=name, paths=paths),
            tier=Tier.SMOKE if name in SMOKE else Tier.DEFAULT,
            timeout="long",
            hello=False,
            ending="any",
            dialects=tuple(paths),
            n_devices=2 if name in TWO_DEVICES else 1,
        )


def _replay(ctx: Context, *, name: str, paths: Mapping[str, Path]) -> Said | None:
    from ggmlrpc_core.endpoint import Endpoint
    from ggmlrpc_core.recording.file import Recording
    from ggmlrpc_core.recording.player import Player

    recording = Recording(paths[ctx.dialect.name])
    with contextlib.ExitStack() as stack:
        stack.callback(recording.close)
        targets = [ctx.target]
        for _ in range(1, recording.head.servers):
            targets.append(_another(ctx, stack))
        endpoints = [Endpoint(*t.address) for t in targets]
        report = Player(recording, endpoints, timeout=ctx.timeout).play()
    stages: dict[str, Verdict] = {}
    for check in report.checks:
        stage = next((s for s, names in STAGES.items() if check.command in names), "quit")
        good = Verdict.FAIL if check.fault else Verdict.PASS
        stages[stage] = max(stages.get(stage, Verdict.SKIP), good, key=lambda v: v.severity)
    ctx.steps = {stage: stages[stage] for stage in STAGES if stage in stages}
    if report.ok:
        return None
    first = next(iter(report.faults), None)
    found = (
        f"line {first.line}: {first.command}: {first.fault}"
        if first
        else "messages that could not be sent"
    )
    return Said(
        reply=Verdict.FAIL,
        expected="what the recorded client must hear",
        found=f"{found} ({len(report.faults)} faults, {report.unsent} not sent)",
    )


def _another(ctx: Context, stack: contextlib.ExitStack) -> Target:
    """A second server: another process where the suite starts them, else the same one."""
    if not ctx.target.command:
        if ctx.serves_several is False:
            raise NotApplicable("two servers are needed, and this one serves one client at a time")
        return ctx.target
    second = ctx.target.sibling()
    stack.callback(second.stop)
    second.start()
    return second
