"""The range check of ids in tensor data."""

import numpy as np
import pytest

from ggmlrpc_core.errors import OutOfBounds
from ggmlrpc_core.ops import OPS
from ggmlrpc_core.ops.declare import Ids
from ggmlrpc_core.ops.ids import check_ids


def test_ops_that_say_which_source_holds_ids():
    slots = {name: declared.ids.slot for name, declared in OPS.items() if declared.ids is not None}
    expected = {"GET_ROWS": 1, "GET_ROWS_BACK": 1, "SET_ROWS": 1, "MUL_MAT_ID": 2, "ADD_ID": 2}
    assert expected.items() <= slots.items()
    for name, slot in slots.items():
        assert OPS[name].sources[slot].types <= {"I32", "I64"}


@pytest.mark.parametrize("ids", [[0, 4], [2], []])
def test_ids_inside(bench, ids):
    node = bench.node("GET_ROWS", "F32", (1,))
    check_ids(np, node, Ids(1, lambda node: 5), np.array(ids, np.int32))


@pytest.mark.parametrize(("ids", "found"), [([0, 5], 5), ([-1, 9], -1), ([2**40, 1], 2**40)])
def test_ids_outside(bench, ids, found):
    node = bench.node("GET_ROWS", "F32", (1,))
    with pytest.raises(OutOfBounds) as caught:
        check_ids(np, node, Ids(1, lambda node: 5), np.array(ids, np.int64))
    assert (
        str(caught.value)
        == f"GET_ROWS: an id in src[1] is {found}, expected inside [0, 5) [node 'y']"
    )
    assert caught.value.got == found


def test_no_id_is_inside_an_empty_table(bench):
    node = bench.node("GET_ROWS", "F32", (1,))
    with pytest.raises(OutOfBounds):
        check_ids(np, node, Ids(1, lambda node: 0), np.zeros(1, np.int32))
