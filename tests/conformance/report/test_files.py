import json

from ggmlrpc_conformance.report.files import numbers, write_reports
from ggmlrpc_conformance.results import Verdict


def test_every_file_is_written_whole(make, tmp_path):
    names = {p.name for p in write_reports(make.run(), tmp_path / "new" / "folder")}
    assert names == {
        "report.html",
        "summary.md",
        "junit.xml",
        "ops.csv",
        "badge.svg",
        "summary.json",
    }
    assert names == {p.name for p in (tmp_path / "new" / "folder").iterdir()}


def test_hostile_results_and_lone_surrogates_can_be_written(make, tmp_path):
    write_reports(make.hostile_run(), tmp_path)
    write_reports(make.run(arguments=("\udcff",)), tmp_path)
    for path in tmp_path.iterdir():
        path.read_text(encoding="utf-8")


def test_numbers_for_programs(make, tmp_path):
    found = numbers(make.run([make.result(), make.result("cmd.b", verdict=Verdict.FAIL)]))
    (target,) = found["targets"]
    assert target["answer"] == "no"
    assert target["levels"]["MUST"] == {"good": 1, "bad": 1, "scored": 2}
    assert target["verdicts"] == {"FAIL": 1, "PASS": 1}
    assert found["badge"] == {
        "schemaVersion": 1,
        "label": "ggml RPC",
        "message": "1/2 MUST",
        "color": "red",
    }
    json.dumps(found, allow_nan=False)
