import dataclasses

from ggmlrpc_conformance.report.clients import Outcome, client_rows, stages_of
from ggmlrpc_conformance.results import TargetInfo, Verdict

SERVER = TargetInfo("x:1", version="5.0.0", dialects=("5.0.0",))


def rows_of(target, results=()):
    return {row.label: row for row in client_rows(target, results)}


def test_without_sessions_the_rules_of_hello_decide():
    rows = rows_of(SERVER)
    expected = {
        "7.0.0": Outcome.REJECTED,
        "5.1.0": Outcome.EXPECTED,  # it accepts the older server, which lacks nothing that it needs
        "5.0.0": Outcome.EXPECTED,
        "4.0.3": Outcome.REJECTED,
        "3.6.1": Outcome.REJECTED,
        "none-C": Outcome.REJECTED,
    }
    assert {label: rows[label].outcome for label in expected} == expected
    assert "another length" in rows["3.6.1"].note
    assert "first byte" in rows["none-C"].note
    assert not any(label.startswith("ik-") for label in rows)


def test_a_higher_minor_is_rejected_and_another_patch_is_not_sure():
    rows = rows_of(dataclasses.replace(SERVER, version="3.6.0", dialects=("3.6.0",)))
    assert rows["3.5.0"].outcome is Outcome.REJECTED
    assert rows["3.6.0"].outcome is Outcome.EXPECTED
    assert rows["3.6.1"].outcome is Outcome.UNKNOWN


def test_a_client_that_accepts_an_older_server_may_break():
    rows = rows_of(dataclasses.replace(SERVER, version="3.5.0", dialects=("3.5.0",)))
    assert rows["3.6.1"].outcome is Outcome.BREAKS
    assert rows["3.6.1"].note == "it accepts 3.5.0, and breaks at its first GET_ALLOC_SIZE"
    assert rows["3.0.0"].outcome is Outcome.REJECTED


def test_versions_newest_first_with_the_dates_of_all_their_numberings():
    rows = list(rows_of(SERVER).values())
    assert rows[0].label == "7.0.0"
    assert rows[-1].label == "none-A"
    assert rows_of(SERVER)["2.0.0"].dates == "2025-04-25 to 2025-10-04"


def test_sessions_decide_where_they_were_replayed(make):
    steps = {"connect": Verdict.PASS, "generate": Verdict.FAIL}
    good = make.result(
        "session.a", area="session", dialect="5.0.0", steps={"connect": Verdict.PASS}
    )
    bad = make.result(
        "session.b", area="session", dialect="5.0.0", steps=steps, verdict=Verdict.FAIL
    )
    assert rows_of(SERVER, [good])["5.0.0"].outcome is Outcome.WORKS
    assert rows_of(SERVER, [bad])["5.0.0"].outcome is Outcome.BREAKS
    row = rows_of(SERVER, [good, bad])["5.0.0"]
    assert row.outcome is Outcome.PARTLY
    assert row.note == "1 of 2 recorded sessions; session.b fails at generate"
    assert row.stages == {"connect": Verdict.PASS, "generate": Verdict.FAIL}
    assert stages_of([row]) == ["connect", "generate"]


def test_a_session_of_one_numbering_is_its_versions(make):
    session = make.result("session.a", area="session", dialect="2.0.0@2025-08-05")
    assert rows_of(SERVER, [session])["2.0.0"].outcome is Outcome.WORKS


def test_a_session_that_says_nothing_leaves_it_unknown(make):
    lost = make.result("session.a", area="session", dialect="5.0.0", verdict=Verdict.NOTRUN)
    assert rows_of(SERVER, [lost])["5.0.0"].outcome is Outcome.UNKNOWN


def test_a_server_from_before_hello_takes_its_own_clients_only():
    rows = rows_of(TargetInfo("x:1", dialects=("none-C",)))
    assert rows["none-C"].outcome is Outcome.EXPECTED
    assert rows["7.0.0"].outcome is Outcome.REJECTED
    assert rows_of(TargetInfo("x:1"))["7.0.0"].outcome is Outcome.UNKNOWN


def test_the_fork_is_shown_when_it_was_replayed(make):
    session = make.result("session.a", area="session", dialect="ik-3.5.2/16src")
    assert rows_of(SERVER, [session])["ik-3.5.2/16src"].outcome is Outcome.WORKS


def test_of_several_announced_versions_the_best_counts():
    rows = rows_of(TargetInfo("x:1", version="7.0.0, 3.6.0", dialects=("7.0.0", "3.6.0")))
    expected = {
        "7.0.0": Outcome.EXPECTED,
        "6.0.0": Outcome.REJECTED,
        "3.6.1": Outcome.UNKNOWN,
        "3.6.0": Outcome.EXPECTED,
        "3.5.0": Outcome.REJECTED,
    }
    assert {label: rows[label].outcome for label in expected} == expected
    assert "3.6.0, whose minor is higher" in rows["3.5.0"].note


def test_stages_are_in_the_order_of_a_session(make):
    steps = {
        "quit": Verdict.PASS,
        "recompute": Verdict.PASS,
        "sleep": Verdict.PASS,
        "load": Verdict.PASS,
    }
    session = make.result("session.a", area="session", dialect="5.0.0", steps=steps)
    assert stages_of([rows_of(SERVER, [session])["5.0.0"]]) == [
        "load",
        "recompute",
        "quit",
        "sleep",
    ]
