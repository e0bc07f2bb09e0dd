from ggmlrpc_conformance.report.clusters import clusters, signature
from ggmlrpc_conformance.results import Level, Verdict

BAD = frozenset({Verdict.FAIL, Verdict.CRASH})


def failed(make, case_id, found, **changes):
    return make.result(case_id, verdict=Verdict.FAIL, found=found, **changes)


def test_failures_that_differ_in_numbers_only_are_one_group(make):
    found = clusters(
        [
            failed(make, "cmd.a-longer", "answer has 17 bytes at 0x7f00, expected 16"),
            failed(make, "cmd.b", "answer has 3 bytes at 0x10, expected 16"),
            failed(make, "cmd.c", "nothing was answered"),
            make.result(),
        ],
        BAD,
    )
    assert [(c.what, len(c.results)) for c in found] == [
        ("answer has # bytes at #, expected #", 2),
        ("nothing was answered", 1),
    ]
    assert found[0].results[0].case_id == "cmd.b"
    assert found[0].clause is not None and found[0].clause.id == "GET-1"


def test_must_comes_before_should_and_crashes_first(make):
    order = clusters(
        [
            failed(make, "cmd.a", "x", level=Level.SHOULD),
            failed(make, "cmd.b", "y"),
            make.result("cmd.c", verdict=Verdict.CRASH, found="died"),
        ],
        BAD,
    )
    assert [(c.level, c.verdict) for c in order] == [
        (Level.MUST, Verdict.CRASH),
        (Level.MUST, Verdict.FAIL),
        (Level.SHOULD, Verdict.FAIL),
    ]


def test_ops_group_by_op_and_unknown_clauses_are_kept(make):
    one = make.op(verdict=Verdict.FAIL, clauses=("FUTURE-1",))
    (cluster,) = clusters([one], BAD)
    assert (cluster.what, cluster.clause, cluster.clause_id) == ("MUL_MAT", None, "FUTURE-1")
    assert signature(make.result()) == "cmd"
