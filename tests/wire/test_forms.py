"""Forms by themselves: which rows they touch, and what they say."""

import numpy as np
import pytest

from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.wire.forms import Rows, bits, both, keep, only, reorder, shown

TENSOR = np.dtype([("id", "<u8"), ("ne", "<u4", (4,)), ("name", "S64")])


def rows(at, *, params=None, src=None, **about):
    tensors = np.zeros(3, TENSOR)
    tensors["id"], tensors["name"] = [7, 8, 7], b"n"
    tensors["ne"] = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 9, 9]]
    made = np.zeros((3, 16), np.int32) if params is None else params
    sources = np.zeros((3, 10), np.uint64) if src is None else src
    return Rows(np.array(at), made, sources, tensors, **about)


def test_sources_are_rows_and_the_first_of_equal_ids_counts():
    src = np.zeros((3, 10), np.uint64)
    src[:, 0] = [8, 0, 7]
    one = rows([0, 1, 2], src=src)
    assert one.source(0).tolist() == [1, -1, 0]
    assert one.ne(one.source(0))[0].tolist() == [5, 6, 7, 8]


def test_only_the_rows_of_the_op_are_touched():
    one = rows([1])
    one.put(3, 5)
    assert one.op_params[:, 3].tolist() == [0, 5, 0]
    src = np.arange(30, dtype=np.uint64).reshape(3, 10)
    reorder(2, 0, 1).read(two := rows([1], src=src))
    assert two.src[:, :3].tolist() == [[0, 1, 2], [12, 10, 11], [20, 21, 22]]
    reorder(2, 0, 1).write(two)
    assert two.src.tolist() == np.arange(30).reshape(3, 10).tolist()


def test_a_refusal_names_the_first_node_and_its_history():
    about = {"op": "SCALE", "until": "2025-07-09", "why": "there was no bias", "dialect": "1.0.0"}
    params = np.zeros((3, 16), np.int32)
    params[2, 1] = bits(0.5)
    both(keep, only(1, 0))(rows([0, 1], params=params, **about))
    with pytest.raises(UnsupportedOp) as caught:
        only(1, 0)(rows([0, 2], params=params, **about))
    assert str(caught.value) == (
        "GRAPH_COMPUTE: op_params[1] of SCALE is 0.5, expected 0 "
        "[before 2025-07-09 there was no bias; node 'n', protocol 1.0.0]"
    )


def test_floats_are_shown_as_floats():
    column, value = shown(np.array([bits(2.0)], np.int32), bits(1.0))
    assert (column.tolist(), value) == ([2.0], "1")
    column, value = shown(np.array([40], np.int32), 0)
    assert (column.tolist(), value) == ([40], "0")
