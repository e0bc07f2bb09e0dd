from ggmlrpc_conformance.report import tally
from ggmlrpc_conformance.results import Level, TargetInfo, Verdict


def test_refusals_known_deviations_and_flaky_cases_are_not_scored(make):
    verdicts = list(Verdict)
    found = tally.tally(make.result(verdict=v) for v in verdicts)
    assert found.total == len(verdicts)
    assert found.good == 3  # PASS, QUALITY, NONSTRICT
    assert found.bad == 3  # FAIL, HANG, CRASH
    assert found.scored == found.good + found.bad + 1  # and XPASS, whose list is stale


def test_areas_come_in_the_order_of_reading(make):
    results = (
        make.result("zz.x", area="zz"),
        make.result("bad.x", area="bad", level=Level.SHOULD),
        make.result(),
    )
    areas = list(tally.by_area(results))
    assert [area for area, _ in areas] == ["cmd", "bad", "zz"]
    assert areas[1][1][Level.SHOULD].good == 1
    assert areas[1][1][Level.MUST].total == 0


def test_the_worst_verdict_is_the_most_severe(make):
    assert tally.worst([make.result(), make.result(verdict=Verdict.CRASH)]) is Verdict.CRASH
    assert tally.worst([]) is Verdict.SKIP


def test_targets_that_only_results_name_are_shown(make):
    run = make.run([make.result(), make.result(target="other:1")])
    assert [t.label for t in tally.all_targets(run)] == [make.TARGET, "other:1"]
    assert len(tally.of_target(run, TargetInfo("other:1"))) == 1


def test_a_server_that_is_started_once_per_dialect_is_one_target(make):
    one, two = (TargetInfo("s", version=v, dialects=(v,), alignment=32) for v in ("7.0.0", "3.6.1"))
    results = [make.result(target="s", dialect=d) for d in ("7.0.0", "3.6.1", "none-C")]
    run = make.run(results, targets=(one, two, TargetInfo("s", dialects=("none-C",))))
    (target,) = tally.all_targets(run)
    assert (target.version, target.dialects) == ("7.0.0, 3.6.1", ("7.0.0", "3.6.1", "none-C"))
    assert len(tally.of_target(run, target)) == 3
