"""From what happened to a verdict, and from verdicts to an exit code. Knows no socket."""

from __future__ import annotations

from collections.abc import Iterable

from ggmlrpc_conformance.case import Case, Said
from ggmlrpc_conformance.faults import (
    CaseFault,
    HarnessError,
    Mismatch,
    NoAnswer,
    NoServer,
    NotApplicable,
    StreamEnded,
)
from ggmlrpc_conformance.results import CaseResult, Ending, Level, Verdict

EXIT_PASS, EXIT_MUST, EXIT_UNDECIDED, EXIT_STALE, EXIT_ARGUMENTS, EXIT_HARNESS = range(6)
"""0 all MUST passed; 1 some failed; 2 undecided; 3 a stale expectation; 4 bad arguments; 5 an error of the suite."""

MAY_REFUSE = frozenset({"op", "graph"})
"""Areas in which a closed connection is a refusal (OP-11), not a failure."""


def worse(a: Verdict, b: Verdict) -> Verdict:
    """The more severe one."""
    return max(a, b, key=lambda verdict: verdict.severity)


def said_of(case: Case, error: BaseException) -> Said:
    """What an exception out of a case's body means.

    Raises:
        NotApplicable: it is one.
    """
    match error:
        case NotApplicable():
            raise error
        case HarnessError():
            return Said(reply=Verdict.HARNESS_ERROR, expected="a case that makes sense", found=str(error))  # fmt: skip
        case StreamEnded():
            ending = Ending.RESET if error.reset else Ending.CLOSED
            refused = case.area in MAY_REFUSE and case.op != ""
            verdict = Verdict.UNSUPPORTED if refused else Verdict.FAIL
            return Said(
                reply=Verdict.PASS if refused else Verdict.FAIL,
                ending=ending,
                ending_verdict=verdict,
                expected=error.expected,
                found=error.found,
            )
        case NoAnswer():
            return _fault(error, Verdict.HANG, Ending.HUNG)
        case NoServer():
            return _fault(error, Verdict.FAIL, Ending.DIED)
        case Mismatch():
            return _fault(error, Verdict.FAIL, Ending.NONE)
    return Said(
        reply=Verdict.HARNESS_ERROR,
        expected="no error in the suite",
        found=f"{type(error).__name__}: {error}",
    )


def _fault(error: CaseFault, verdict: Verdict, ending: Ending) -> Said:
    return Said(reply=verdict, ending=ending, expected=error.expected, found=error.found)


def exit_code(
    results: Iterable[CaseResult],
    *,
    selected: int,
    stale: Iterable[str] = (),
    complete: bool = True,
) -> int:
    """The exit code of a run.

    Args:
        results: of all its cases.
        selected: how many there should be.
        stale: entries of the list of known deviations that match no case.
        complete: nobody interrupted it.
    """
    found = list(results)
    verdicts = {r.verdict for r in found}
    if Verdict.HARNESS_ERROR in verdicts:
        return EXIT_HARNESS
    if any(r.verdict.bad and r.level is Level.MUST for r in found):
        return EXIT_MUST
    whole = complete and len(found) >= selected and Verdict.NOTRUN not in verdicts
    if not whole or not any(r.verdict.judged for r in found):
        return EXIT_UNDECIDED
    if Verdict.XPASS in verdicts or list(stale):
        return EXIT_STALE
    return EXIT_PASS
