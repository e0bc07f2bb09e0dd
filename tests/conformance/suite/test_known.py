"""Lists of known deviations are strict both ways."""

from __future__ import annotations

from importlib import resources

import pytest
from ggmlrpc_conformance.known import apply_known, read_known, stale
from ggmlrpc_conformance.library import all_cases
from ggmlrpc_conformance.results import CaseResult, Level, Verdict

LIST = """
[[deviation]]
ids = ["bad.graph.node-0", "bad.index.*"]
verdicts = ["CRASH"]
reason = "looked up before it is checked"
link = "llama.cpp#25299"
"""


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "list.toml"
    path.write_text(LIST, encoding="utf-8")
    return read_known(str(path))


def result(case_id: str, verdict: Verdict) -> CaseResult:
    return CaseResult(
        case_id, "C1", "x", "bad", ("SAFE-1",), Level.SHOULD, "smoke", "t", "7.0.0", 0, verdict
    )


@pytest.mark.parametrize(
    ("case_id", "found", "said"),
    [
        ("bad.graph.node-0", Verdict.CRASH, Verdict.XFAIL),
        ("bad.index.get_rows.huge", Verdict.CRASH, Verdict.XFAIL),
        ("bad.graph.node-0", Verdict.PASS, Verdict.XPASS),
        ("bad.graph.node-0", Verdict.HANG, Verdict.HANG),
        ("bad.graph.node-0", Verdict.SKIP, Verdict.SKIP),
        ("bad.graph.cycle", Verdict.CRASH, Verdict.CRASH),
    ],
)
def test_what_a_list_makes_of_a_verdict(known, case_id, found, said) -> None:
    judged = apply_known(result(case_id, found), known)
    assert judged.verdict is said
    if said in (Verdict.XFAIL, Verdict.XPASS):
        assert "looked up before it is checked llama.cpp#25299" in judged.reason


def test_entries_that_name_no_case(known) -> None:
    assert stale(known, ["bad.graph.node-0"]) == ["bad.index.*"]
    assert stale(known, ["bad.graph.node-0", "bad.index.x"]) == []


def test_a_block_without_a_reason_is_refused(tmp_path) -> None:
    path = tmp_path / "list.toml"
    path.write_text('[[deviation]]\nids = ["a"]\nverdicts = ["FAIL"]\n', encoding="utf-8")
    with pytest.raises(ValueError, match="no reason"):
        read_known(str(path))


def test_the_lists_of_the_suite_name_cases_that_exist() -> None:
    folder = resources.files("ggmlrpc_conformance").joinpath("deviations")
    names = [e.name.removesuffix(".toml") for e in folder.iterdir() if e.name.endswith(".toml")]
    assert names
    for name in names:
        assert stale(read_known(name), all_cases()) == []
