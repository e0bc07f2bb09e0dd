"""The op suite's own tools: reading what the program prints, choosing cases, counting."""

from __future__ import annotations

from pathlib import Path

import pytest
from upstream.backend_ops.page import csv_text, page
from upstream.backend_ops.program import Case, parse_list
from upstream.backend_ops.results import FAILED, NOT_JUDGED, PASSED, WRONG, Result, Results
from upstream.backend_ops.sample import sampled
from upstream.backend_ops.worker import Parsed, parse_line, result_of
from upstream.backend_ops.wrong import WRONG_REFERENCES

ADD = Case(7, "ADD", True, False, 96, 0, "type=f32,ne=[4,2,1,1]")


def parsed(*lines: str) -> Parsed:
    now = None
    for line in lines:
        now = parse_line(line, now)
    assert now is not None
    return now


def test_a_line_of_the_list() -> None:
    line = "3\tMUL_MAT\t1\t0\t2048\t512\ttype_a=q4_0,m=16"
    assert parse_list(line) == [Case(3, "MUL_MAT", True, False, 2048, 512, "type_a=q4_0,m=16")]


def test_a_case_that_passed_keeps_the_error_nearest_to_its_limit() -> None:
    now = parsed(
        "noise before the first case",
        "@begin\t7",
        "@error\tCPY\t1e-9\t1e-7",
        "@error\tADD\t2e-8\t1e-7",
        "@bits\tADD\t1",
        "@end\t7\tpassed\t0.250000",
    )
    assert now.ended
    assert result_of(ADD, now) == Result(
        7, "ADD", ADD.params, PASSED, seconds=0.25, err=2e-8, limit=1e-7, repeated=1
    )
    assert result_of(ADD, now).fraction == pytest.approx(0.2)


def test_a_case_that_failed_has_the_text_of_the_suite() -> None:
    now = parsed("@begin\t7", "[ADD] ERR = 0.5 > 0.1 ", "", "@end\t7\tfailed\t0.1")
    result = result_of(ADD, now)
    assert (result.status, result.error) == (FAILED, "[ADD] ERR = 0.5 > 0.1")


def test_other_bits_fail() -> None:
    now = parsed("@begin\t7", "@bits\tADD\t0", "@end\t7\tpassed\t0.1")
    result = result_of(ADD, now)
    assert (result.status, result.unequal) == (FAILED, ("ADD",))
    assert result.error == "a second run gave other bits: ADD"


def test_a_wrong_reference_counts_apart() -> None:
    name = next(iter(WRONG_REFERENCES))
    op, params = name[:-1].split("(")
    now = parsed("@begin\t1", "@end\t1\tfailed\t0.1")
    assert result_of(Case(1, op, True, False, 0, 0, params), now).status == WRONG


def test_a_case_without_a_reference_is_not_judged() -> None:
    case = Case(7, "ADD", False, False, 96, 0, "")
    result = result_of(case, parsed("@begin\t7", "@end\t7\tcomputed\t0.1"))
    assert (result.status, result.error) == (NOT_JUDGED, "")
    result = result_of(case, parsed("@begin\t7", "@end\t7\tfailed\t0.1"))
    assert (result.status, result.error) == (NOT_JUDGED, "the suite gives no reason")


def test_a_sample_starts_with_every_op_and_leaves_large_cases_out() -> None:
    cases = [Case(i, op, True, False, 10, 0, f"n={i}") for i, op in enumerate("AAABBC")]
    cases += [
        Case(6, "A", True, False, 10, 10**12, "large"),
        Case(7, "D", True, False, 10, 10**12, "the only one"),
        Case(8, "E", False, False, 10, 0, "not judged"),
    ]
    order = sampled(cases)
    assert [case.op for case in order[:4]] == ["A", "B", "C", "D"]
    assert {case.number for case in order} == {0, 1, 2, 3, 4, 5, 7}
    assert order == sampled(cases)


def test_results_go_on_after_a_line_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(path, {"server": "x"})
    results.add(Result(1, "ADD", "", FAILED, error="no"))
    results.add(Result(2, "ADD", "", PASSED, unequal=("ADD",)))
    path.write_text(path.read_text() + '{"number": 3, "op"')
    again = Results(path, {"server": "x"})
    assert again.done == results.done
    again.forget(FAILED)
    assert list(again.done) == [2]
    with pytest.raises(ValueError, match="expected"):
        Results(path, {"server": "y"})


def test_the_page_has_the_worst_fraction_of_each_op() -> None:
    results = [
        Result(1, "ADD", "a", PASSED, err=1e-9, limit=1e-7),
        Result(2, "ADD", "b", PASSED, err=3e-8, limit=1e-7),
        Result(3, "SUM", "c", NOT_JUDGED),
        Result(4, "SUM", "d", NOT_JUDGED, error="refused"),
    ]
    head = {"server": "ggmlrpc 0", "client": "stock 1"}
    text = page(head, results)
    assert "| ADD | 2 | 0 | 0 | 0 | 0.3 |" in text
    assert "| SUM | 0 | 0 | 0 | 2 |  |" in text


def test_the_csv_has_the_columns_of_upstream() -> None:
    cases = [ADD, Case(8, "X", True, True, 0, 0, "fused"), Case(9, "SUM", False, False, 0, 0, "d")]
    results = [
        Result(7, "ADD", ADD.params, PASSED),
        Result(8, "X", "fused", PASSED),
        Result(9, "SUM", "d", NOT_JUDGED, error="refused"),
    ]
    assert csv_text(cases, results).splitlines() == [
        '"backend_name","op_name","op_params","test_mode","supported","error_message","backend_reg_name"',
        '"ggmlrpc","ADD","type=f32,ne=[4,2,1,1]","support","1","yes","ggmlrpc"',
        '"ggmlrpc","SUM","d","support","0","no","ggmlrpc"',
    ]
