"""Results of runs that never were, for the tests of the report."""

import dataclasses

import pytest
from ggmlrpc_conformance.results import (
    Accuracy,
    CaseResult,
    Crash,
    Ending,
    Level,
    Message,
    Run,
    RunInfo,
    TargetInfo,
    Verdict,
)

TARGET = "127.0.0.1:50052"
HOSTILE = "<script>alert(1)</script>\x1b[31m|`x`\x00\n=cmd()"


def make_result(case_id="cmd.get_tensor.whole", **changes):
    """A result that passed, but for the changes."""
    fields = {
        "case_id": case_id,
        "number": "C0001",
        "title": "what the case does",
        "area": case_id.partition(".")[0].partition("/")[0],
        "clauses": ("GET-1",),
        "level": Level.MUST,
        "tier": "smoke",
        "target": TARGET,
        "dialect": "7.0.0",
        "device": 0,
        "verdict": Verdict.PASS,
        "ending": Ending.KEPT,
        "seconds": 0.25,
        "repro": f"pytest --pyargs ggmlrpc_conformance --target {TARGET} --case {case_id}@7.0.0",
    }
    return CaseResult(**{**fields, **changes})


def make_op(op="MUL_MAT", types="Q4_0 F32", share=0.01, **changes):
    """An op case whose error is a share of its limit."""
    accuracy = Accuracy(
        nmse=share * 5e-4, row=share * 5e-4, largest=share, interop=5e-4, tight=5e-6
    )
    changes = {"accuracy": accuracy, "area": "op", "clauses": ("OP-3",), **changes}
    return make_result(
        f"op/{op}/{types.replace(' ', '.').lower()}/n4", op=op, types=types, **changes
    )


def make_info(**changes):
    """A whole run of stock 7.0.0 alone."""
    target = TargetInfo(
        TARGET, version="7.0.0", dialects=("7.0.0",), alignment=32, free=1 << 30, total=1 << 31
    )
    fields = {
        "suite": "0.1.0",
        "started": "2026-11-21T06:00:00Z",
        "tier": "smoke",
        "targets": (target,),
        "seconds": 12.5,
        "selected": 8,
        "complete": True,
        "left_out": {"destructive": 3},
    }
    return RunInfo(**{**fields, **changes})


def make_run(results=None, **changes):
    """A run of some results; of one of each kind when none are given."""
    return Run(make_info(**changes), tuple(mixed_results() if results is None else results))


def mixed_results():
    """One result of each kind that a report shows apart."""
    crash = Crash(again=True, exit="signal SIGSEGV", suspects=("bad.graph.no-source",))
    messages = (
        Message("a", True, "GRAPH_COMPUTE", 900, {"nodes": "1", "node 0": "ADD, no sources"}),
        Message("a", False, "end"),
    )
    steps = {"connect": Verdict.PASS, "load": Verdict.PASS, "generate": Verdict.PASS}
    return [
        make_result(),
        make_result("session.greedy32", area="session", clauses=("GRAPH-1",), steps=steps),
        make_op(),
        make_op("ADD", "F32 F32", share=0.9),
        make_op(
            "UNARY/EXP", "F16", verdict=Verdict.UNSUPPORTED, accuracy=None, ending=Ending.CLOSED
        ),
        make_result(
            "bad.graph.no-source",
            area="bad",
            clauses=("OP-12", "SAFE-1"),
            level=Level.SHOULD,
            verdict=Verdict.CRASH,
            ending=Ending.DIED,
            expected="the connection closes",
            found="the server ended with signal SIGSEGV",
            crash=crash,
            messages=messages,
            server_output="ggml.c:1: assert\n",
        ),
        make_result("wire.later", verdict=Verdict.SKIP, reason="the dialect has no such command"),
        make_result(
            "wire.known",
            level=Level.SHOULD,
            verdict=Verdict.XFAIL,
            reason="llama.cpp#1",
            found="closed",
        ),
    ]


def hostile_run():
    """A run in which everything that a peer or a stranger's file can choose is hostile."""
    bad = make_result(
        "bad.x",
        number=HOSTILE,
        title=HOSTILE,
        dialect=HOSTILE,
        clauses=(HOSTILE,),
        target=HOSTILE,
        area=HOSTILE,
        level=Level.MUST,
        tier=HOSTILE,
        verdict=Verdict.FAIL,
        expected=HOSTILE,
        found=HOSTILE,
        messages=(Message(HOSTILE, False, HOSTILE, 3, {HOSTILE: HOSTILE}),),
        server_output=HOSTILE,
        reason=HOSTILE,
        repro=HOSTILE,
        crash=Crash(True, HOSTILE, (HOSTILE,)),
        steps={HOSTILE: Verdict.FAIL},
    )
    results = [
        bad,
        dataclasses.replace(
            bad, op=HOSTILE, types=HOSTILE, accuracy=Accuracy(float("nan"), 1, 1, 0, 0)
        ),
        dataclasses.replace(bad, area="session", clauses=("GRAPH-1",)),
        dataclasses.replace(bad, area="bad", verdict=Verdict.XFAIL),
        dataclasses.replace(bad, verdict=Verdict.SKIP),
        dataclasses.replace(bad, verdict=Verdict.UNSUPPORTED, op=HOSTILE, types=HOSTILE),
    ]
    target = TargetInfo(HOSTILE, command=HOSTILE, version="7.0.0", dialects=(HOSTILE,))
    return make_run(
        results, targets=(target,), suite=HOSTILE, started=HOSTILE, tier=HOSTILE, arguments=(HOSTILE,),
        platform=HOSTILE, left_out={HOSTILE: 2},
    )  # fmt: skip


@pytest.fixture
def make():
    """The makers of this file."""
    return Makers


class Makers:
    """For tests, which cannot import this file."""

    TARGET = TARGET
    HOSTILE = HOSTILE
    result = staticmethod(make_result)
    op = staticmethod(make_op)
    info = staticmethod(make_info)
    run = staticmethod(make_run)
    hostile_run = staticmethod(hostile_run)
