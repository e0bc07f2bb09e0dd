import csv

from ggmlrpc_conformance.report.ops_csv import COLUMNS, ops_csv
from ggmlrpc_conformance.results import Verdict


def test_rows_are_as_upstreams_script_reads_them(make):
    run = make.run(
        [
            make.op(),
            make.op("UNARY/EXP", "F16", verdict=Verdict.UNSUPPORTED, accuracy=None),
            make.op("ADD", "F32", verdict=Verdict.SKIP),
            make.result(),
        ]
    )
    rows = list(csv.DictReader(ops_csv(run).splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [(r["op_name"], r["supported"], r["error_message"], r["test_mode"]) for r in rows] == [
        ("MUL_MAT", "1", "yes", "support"),
        ("EXP", "0", "no", "support"),
    ]
    assert rows[0]["op_params"] == "types=Q4_0 F32,case=op/MUL_MAT/q4_0.f32/n4@7.0.0"


def test_hostile_text_stays_in_its_cell(make):
    rows = list(csv.reader(ops_csv(make.hostile_run()).splitlines()))
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
