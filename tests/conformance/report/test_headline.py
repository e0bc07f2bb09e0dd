import pytest
from ggmlrpc_conformance.report.cells import heat_map
from ggmlrpc_conformance.report.headline import Answer, headline, ops_line, terminal_lines
from ggmlrpc_conformance.results import Level, Verdict


def of(make, results, **changes):
    run = make.run(results, **changes)
    return headline(run, run.info.targets[0])


def session(make, **changes):
    return make.result("session.greedy", area="session", clauses=("GRAPH-1",), **changes)


def test_replayed_clients_without_a_broken_must_are_yes(make):
    head = of(make, [session(make), make.result(verdict=Verdict.FAIL, level=Level.SHOULD)])
    assert head.answer is Answer.YES
    assert head.why == "clients of 7.0.0; 1 recorded session replayed"


def test_a_client_that_breaks_is_no_and_one_of_two_is_partly(make):
    bad = session(make, verdict=Verdict.FAIL, steps={"connect": Verdict.PASS, "load": Verdict.FAIL})
    head = of(make, [bad])
    assert head.answer is Answer.NO
    assert head.why == (
        "clients of 7.0.0 do not (7.0.0: 0 of 1 recorded sessions; session.greedy fails at load)"
    )
    both = of(make, [bad, session(make, dialect="5.1.0")])
    assert both.answer is Answer.PARTLY
    assert both.why.startswith("clients of 5.1.0 work; those of 7.0.0 do not (")


def test_a_broken_must_is_named(make):
    broken = make.result(verdict=Verdict.FAIL)
    assert of(make, [broken]).answer is Answer.NO
    assert of(make, [broken]).why == "broken, and clients depend on it: GET-1"
    head = of(make, [broken, session(make)])
    assert head.answer is Answer.PARTLY
    assert head.why.endswith("replayed, but 1 MUST case failed: GET-1")


def test_a_known_deviation_breaks_clients_too(make):
    assert of(make, [make.result(verdict=Verdict.XFAIL)]).answer is Answer.NO
    assert of(make, [session(make, verdict=Verdict.XFAIL)]).answer is Answer.NO
    assert of(make, [session(make, verdict=Verdict.XPASS)]).answer is Answer.YES


def test_without_sessions_it_is_probable_at_most(make):
    head = of(make, [make.result()])
    assert head.answer is Answer.PROBABLY
    assert head.why == "all 1 MUST case that ran passed, but no recorded client was replayed"
    assert of(make, []).answer is Answer.UNKNOWN
    assert of(make, []).why == "no recorded client was replayed, and no MUST case was judged"


def test_an_interrupted_run_says_so_first(make):
    run = make.run(complete=False, selected=900)
    lines = terminal_lines(run, run.info.targets[0])
    assert lines[1] == "INTERRUPTED: 8 of 900 cases ran; what follows is about those"


def test_an_interrupted_run_is_less_sure(make):
    assert of(make, [session(make)], complete=False).answer is Answer.PROBABLY
    assert of(make, [make.result()], complete=False).answer is Answer.UNKNOWN
    assert of(make, [make.result(verdict=Verdict.FAIL)], complete=False).answer is Answer.NO


@pytest.mark.parametrize(
    ("verdict", "says"),
    [(Verdict.NOTRUN, "UNDECIDED: 1 case was"), (Verdict.HARNESS_ERROR, "THE SUITE FAILED in 1")],
)
def test_a_run_that_says_too_little_says_so(make, verdict, says):
    assert of(make, [make.result(verdict=verdict)]).warning.startswith(says)


def test_the_numbers_and_the_faults(make):
    run = make.run()
    assert terminal_lines(run, run.info.targets[0]) == [
        "127.0.0.1:50052   announces 7.0.0   suite 0.1.0   tier smoke   12 s",
        "Will my llama.cpp work?  yes: clients of 7.0.0; 1 recorded session replayed",
        "MUST 4/4   SHOULD 0/1   CRASH 1   HANG 0   UNSUPPORTED 1   XFAIL 1",
        "ops 2 of 3 cells of op and types; worst error 0.9 of the limit (ADD F32 F32)",
        "  SHOULD OP-12 CRASH (1 case): the server ended with signal SIGSEGV, "
        "first bad.graph.no-source@7.0.0",
    ]


def test_many_kinds_of_failure_are_cut(make):
    bad = [
        make.result(f"cmd.x{i}", clauses=(f"X-{i}",), verdict=Verdict.FAIL) for i in range(1, 10)
    ]
    lines = of(make, bad).lines(most_faults=3)
    assert lines[-1] == "  and 6 more kinds of failure"
    assert len(lines) == 6


def test_nothing_hostile_reaches_the_terminal(make):
    run = make.hostile_run()
    for line in terminal_lines(run, run.info.targets[0]):
        assert line.isprintable()


def test_errors_beyond_measure_are_words(make):
    assert "beyond any limit" in ops_line(heat_map([make.op(share=float("nan"))]))
