"""Exceptions to verdicts, verdicts to exit codes."""

from __future__ import annotations

import pytest
from ggmlrpc_conformance.case import Case
from ggmlrpc_conformance.faults import (
    HarnessError,
    Mismatch,
    NoAnswer,
    NoServer,
    NotApplicable,
    StreamEnded,
)
from ggmlrpc_conformance.judge import exit_code, said_of, worse
from ggmlrpc_conformance.results import CaseResult, Ending, Level, Verdict

CASE = Case("wire.x", "x", ("CONN-1",), lambda ctx: None)
OP = Case("op.x", "x", ("OP-3",), lambda ctx: None, op="ADD")


@pytest.mark.parametrize(
    ("case", "error", "reply", "ending", "ending_verdict"),
    [
        (CASE, Mismatch("1", "2"), Verdict.FAIL, Ending.NONE, Verdict.PASS),
        (CASE, StreamEnded("1", "2"), Verdict.FAIL, Ending.CLOSED, Verdict.FAIL),
        (CASE, StreamEnded("1", "2", reset=True), Verdict.FAIL, Ending.RESET, Verdict.FAIL),
        (OP, StreamEnded("1", "2"), Verdict.PASS, Ending.CLOSED, Verdict.UNSUPPORTED),
        (CASE, NoAnswer("1", "2"), Verdict.HANG, Ending.HUNG, Verdict.PASS),
        (CASE, NoServer("1", "2"), Verdict.FAIL, Ending.DIED, Verdict.PASS),
        (CASE, HarnessError("no"), Verdict.HARNESS_ERROR, Ending.NONE, Verdict.PASS),
        (CASE, ZeroDivisionError(), Verdict.HARNESS_ERROR, Ending.NONE, Verdict.PASS),
    ],
)
def test_what_an_exception_means(case, error, reply, ending, ending_verdict) -> None:
    said = said_of(case, error)
    assert (said.reply, said.ending, said.ending_verdict) == (reply, ending, ending_verdict)


def test_what_does_not_apply_is_no_verdict() -> None:
    with pytest.raises(NotApplicable):
        said_of(CASE, NotApplicable("no such command"))


def test_the_worse_of_two() -> None:
    assert worse(Verdict.PASS, Verdict.FAIL) is Verdict.FAIL
    assert worse(Verdict.CRASH, Verdict.HANG) is Verdict.CRASH
    assert worse(Verdict.QUALITY, Verdict.PASS) is Verdict.QUALITY


def result(verdict: Verdict, level: Level = Level.MUST) -> CaseResult:
    return CaseResult(
        "wire.x", "C1", "x", "wire", ("CONN-1",), level, "smoke", "t", "7.0.0", 0, verdict
    )


@pytest.mark.parametrize(
    ("results", "selected", "stale", "complete", "code"),
    [
        ([result(Verdict.PASS)], 1, [], True, 0),
        ([result(Verdict.PASS), result(Verdict.FAIL, Level.SHOULD)], 2, [], True, 0),
        ([result(Verdict.PASS), result(Verdict.UNSUPPORTED)], 2, [], True, 0),
        ([result(Verdict.PASS), result(Verdict.CRASH)], 2, [], True, 1),
        ([result(Verdict.FAIL)], 9, [], False, 1),
        ([result(Verdict.PASS)], 2, [], True, 2),
        ([result(Verdict.PASS)], 1, [], False, 2),
        ([result(Verdict.PASS), result(Verdict.NOTRUN)], 2, [], True, 2),
        ([result(Verdict.SKIP)], 1, [], True, 2),
        ([], 0, [], True, 2),
        ([result(Verdict.PASS)], 1, ["wire.gone"], True, 3),
        ([result(Verdict.PASS), result(Verdict.XPASS)], 2, [], True, 3),
        ([result(Verdict.FAIL), result(Verdict.HARNESS_ERROR)], 2, [], True, 5),
    ],
)
def test_exit_codes(results, selected, stale, complete, code) -> None:
    assert exit_code(results, selected=selected, stale=stale, complete=complete) == code
