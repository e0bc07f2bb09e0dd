import pytest
from click.testing import CliRunner
from ggmlrpc_conformance.__main__ import main
from ggmlrpc_conformance.results import Verdict, write_end, write_result, write_run


@pytest.fixture
def results_file(make, tmp_path):
    """Write a results file."""

    def write(name, run, ended=True):
        path = tmp_path / name
        with path.open("w", encoding="utf-8") as file:
            write_run(file, make.info(complete=False))
            for result in run.results:
                write_result(file, result)
            if ended:
                write_end(file, run.info)
        return path

    return write


def invoke(*words):
    return CliRunner().invoke(main, [str(w) for w in words])


def test_report_prints_the_headline_and_writes_the_files(make, results_file, tmp_path):
    path = results_file("a.jsonl", make.run())
    found = invoke("report", path, "-o", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "Will my llama.cpp work?  yes" in found.output
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == path.read_bytes()
    again = invoke("report", tmp_path / "out" / "results.jsonl", "-o", tmp_path / "out")
    assert again.exit_code == 0, again.output


def test_a_file_that_was_cut_is_an_interrupted_run(make, results_file, tmp_path):
    path = results_file("a.jsonl", make.run(), ended=False)
    path.write_bytes(path.read_bytes()[:-40])
    found = invoke("report", path, "-o", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "INTERRUPTED: 7 of 8 cases ran" in found.output


def test_diff_fails_when_something_regressed(make, results_file):
    old = results_file("old.jsonl", make.run([make.result()]))
    new = results_file("new.jsonl", make.run([make.result(verdict=Verdict.FAIL)]))
    assert invoke("diff", old, old).exit_code == 0
    assert invoke("diff", new, old).exit_code == 0
    found = invoke("diff", old, new)
    assert found.exit_code == 1
    assert found.output.startswith("regressed: cmd.get_tensor.whole@7.0.0 (PASS to FAIL)")


@pytest.mark.parametrize(
    "text", ["", "[]\n", "no json\n", '{"run": {}}\n', '{"format": 99, "run": {}}\n']
)
def test_another_file_is_named_as_such(tmp_path, text):
    path = tmp_path / "x.jsonl"
    path.write_text(text, encoding="utf-8")
    found = invoke("report", path, "-o", tmp_path / "out")
    assert found.exit_code == 1
    assert "not a results file" in found.output


def test_baseline_writes_a_row_per_judged_case(make, results_file, tmp_path):
    path = results_file("a.jsonl", make.run())
    assert invoke("baseline", path, "-o", tmp_path / "stock-7.0.0.csv").exit_code == 0
    lines = (tmp_path / "stock-7.0.0.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id,verdict,ending,found,nmse"
    assert len(lines) == 8  # all but the one that was left out
