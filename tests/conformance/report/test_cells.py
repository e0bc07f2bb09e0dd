import dataclasses
import math

import pytest
from ggmlrpc_conformance.report.baseline import Known
from ggmlrpc_conformance.report.cells import STEPS, group_of, heat_map, share_of
from ggmlrpc_conformance.results import Accuracy, Ending, Verdict

from ggmlrpc_core.ops import OPS


def test_cells_fold_cases_and_keep_the_worst(make):
    heat = heat_map(
        [
            make.op(share=0.001),
            dataclasses.replace(make.op(share=0.5), case_id="op/MUL_MAT/worse"),
            make.op("MUL_MAT", "Q4_0 F16", verdict=Verdict.UNSUPPORTED, accuracy=None),
            make.op("ADD", "I32", verdict=Verdict.FAIL),
            make.op("ADD", "F16", verdict=Verdict.SKIP),
            make.result(),
        ]
    )
    assert heat.types == ["I32", "Q4_0"]
    assert [name for name, _ in heat.groups] == ["elementwise", "matrices"]
    cells = {(c.op, c.types): c for c in heat.cells}
    first = cells["MUL_MAT", "Q4_0 F32"]
    assert (first.passed, first.total, first.share, first.worst_id) == (
        2,
        2,
        0.5,
        "op/MUL_MAT/worse@7.0.0",
    )
    assert cells["ADD", "I32"].verdict is Verdict.FAIL
    assert heat.good == 1
    fields = dict(dict(heat.groups)["matrices"])["MUL_MAT"]["Q4_0"]
    assert sorted(c.types for c in fields) == ["Q4_0 F16", "Q4_0 F32"]


@pytest.mark.parametrize(
    ("share", "shade"),
    [(0.9, STEPS - 1), (0.05, STEPS - 2), (1e-9, 0), (0.0, 0), (math.inf, STEPS - 1)],
)
def test_an_error_near_the_limit_is_darker(make, share, shade):
    accuracy = Accuracy(nmse=share, row=0, largest=0, interop=1.0, tight=0.1)
    (cell,) = heat_map([dataclasses.replace(make.op(), accuracy=accuracy)]).cells
    assert cell.shade == shade


def test_a_cell_knows_what_stock_did(make):
    known = {make.op().full_id: Known("stock-7.0.0", Verdict.UNSUPPORTED, Ending.CLOSED, "", None)}
    cells = heat_map([make.op(), make.op("ADD", "F32")], known).cells
    assert [cell.stock for cell in cells] == [Verdict.UNSUPPORTED, None]


def test_errors_without_a_finite_share(make):
    def of(nmse, interop):
        return share_of(dataclasses.replace(make.op(), accuracy=Accuracy(nmse, 0, 0, interop, 0)))

    assert of(0.0, 0.0) == 0.0
    assert of(1e-9, 0.0) == math.inf
    assert of(math.nan, 1.0) == math.inf
    assert share_of(make.result()) is None


def test_every_op_of_the_table_has_a_group():
    names = {n for n in OPS if not n.startswith(("CUSTOM", "MAP_CUSTOM"))}
    names -= {"NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"}  # never computed
    functions = {"UNARY", "GLU"}  # stand for UNARY/EXP and so on
    assert {name for name in names - functions if group_of(name) == "other"} == set()
    assert group_of("UNARY/EXP") == group_of("GLU/REGLU") == "elementwise"
