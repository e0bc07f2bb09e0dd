import pytest
from ggmlrpc_conformance.report.difference import Change, difference
from ggmlrpc_conformance.results import Verdict

V = Verdict


def one(make, old, new):
    runs = [make.run([make.result(verdict=v)] if v else []) for v in (old, new)]
    (step,) = difference(*runs).steps
    return step.change


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (V.PASS, V.PASS, Change.SAME),
        (V.PASS, V.FAIL, Change.REGRESSED),
        (V.PASS, V.UNSUPPORTED, Change.REGRESSED),
        (V.PASS, V.XFAIL, Change.REGRESSED),
        (V.FAIL, V.CRASH, Change.REGRESSED),
        (V.CRASH, V.FAIL, Change.CHANGED),
        (V.FAIL, V.PASS, Change.FIXED),
        (V.XFAIL, V.XPASS, Change.FIXED),
        (V.PASS, V.QUALITY, Change.CHANGED),
        (V.PASS, V.HARNESS_ERROR, Change.CHANGED),
        (V.INFO, V.INFO, Change.SAME),
        (None, V.PASS, Change.NEW),
        (V.PASS, None, Change.GONE),
        (V.PASS, V.NOTRUN, Change.GONE),
    ],
)
def test_changes(make, old, new, change):
    assert one(make, old, new) is change


def test_an_error_that_doubled_has_moved(make):
    found = difference(make.run([make.op(share=0.01)]), make.run([make.op(share=0.02)]))
    assert [s.change for s in found.steps] == [Change.MOVED]
    assert "nmse 5e-06 to 1e-05" in found.steps[0].line
    assert not difference(make.run([make.op()]), make.run([make.op(share=0.011)])).of(Change.MOVED)


def test_lines_tell_regressions_first_and_count_the_rest(make):
    old = make.run(
        [make.result("cmd.a", verdict=V.FAIL), make.result("cmd.b"), make.result("cmd.c")]
    )
    new = make.run(
        [
            make.result("cmd.a"),
            make.result("cmd.b", verdict=V.FAIL, found="x\x1b"),
            make.result("cmd.c"),
        ],
        suite="0.2.0",
        complete=False,
    )
    assert list(difference(old, new).lines()) == [
        "suites differ: 0.1.0 and 0.2.0; the new run was interrupted after 3 cases",
        "regressed: cmd.b@7.0.0 (PASS to FAIL): x\\x1b",
        "fixed: cmd.a@7.0.0 (FAIL to PASS)",
        "regressed 1, fixed 1, changed 0, moved 0, new 0, gone 0, same 1",
    ]


def test_two_runs_of_one_target_each_are_compared_whatever_its_name(make):
    found = difference(make.run([make.result(target="a:1")]), make.run([make.result(target="b:2")]))
    assert [s.change for s in found.steps] == [Change.SAME]
