from xml.etree import ElementTree

from ggmlrpc_conformance.report.junit import junit
from ggmlrpc_conformance.results import Verdict


def cases_of(run):
    return {c.get("name"): c for c in ElementTree.fromstring(junit(run)).iter("testcase")}


def test_failures_errors_and_skips_are_told_apart(make):
    run = make.run(
        [
            make.result("cmd.good"),
            make.result("cmd.bad", verdict=Verdict.FAIL, found="17 bytes", expected="16 bytes"),
            make.result("cmd.ours", verdict=Verdict.HARNESS_ERROR, reason="KeyError"),
            make.result("cmd.left", verdict=Verdict.SKIP, reason="another tier"),
            make.result("cmd.stale", verdict=Verdict.XPASS),
            make.result("cmd.refused", verdict=Verdict.UNSUPPORTED, found="closed"),
        ]
    )
    cases = cases_of(run)
    found = {
        name: next((c.tag for c in case if c.tag != "properties"), "")
        for name, case in cases.items()
    }
    assert found == {
        "cmd.good@7.0.0": "",
        "cmd.bad@7.0.0": "failure",
        "cmd.ours@7.0.0": "error",
        "cmd.left@7.0.0": "skipped",
        "cmd.stale@7.0.0": "failure",
        "cmd.refused@7.0.0": "skipped",
    }
    failure = cases["cmd.bad@7.0.0"].find("failure")
    assert failure.get("type") == "MUST FAIL"
    assert "expected: 16 bytes\nfound: 17 bytes\nrepeat: pytest --pyargs" in failure.text
    (suite,) = ElementTree.fromstring(junit(run))
    counts = {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "2", "errors": "1", "skipped": "2"}


def test_clauses_are_properties(make):
    (case,) = cases_of(make.run([make.result(clauses=("GET-1", "GET-4"))])).values()
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties == {
        "number": "C0001",
        "level": "MUST",
        "clauses": "GET-1 GET-4",
        "verdict": "PASS",
    }


def test_hostile_text_is_still_xml(make):
    root = ElementTree.fromstring(junit(make.hostile_run()))
    assert {e.tag for e in root.iter()} == {
        "testsuites", "testsuite", "properties", "property", "testcase", "failure", "skipped", "system-err",
    }  # fmt: skip
