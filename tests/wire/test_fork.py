"""Nodes of the fork: compared ones become the newest form, everything else is refused by name."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph, RemoteProtocolError, UnsupportedOp
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.bind import bind_tensor
from ggmlrpc_core.graph.parse import graph_table
from ggmlrpc_core.wire.dialects import dialect, fork_names
from ggmlrpc_core.wire.fork import COMPARED, FORK_MEANINGS
from ggmlrpc_core.wire.tensors import from_wire, tensor_dtype
from ggmlrpc_core.wire.translate import UNKNOWN, translation

IK = dialect("ik-3.5.2/16src")


def row(op, params=(), d=IK, **fields):
    array = np.zeros(1, tensor_dtype(d))
    array["id"], array["ne"], array["op"] = 9, 1, d.numbering.ops[op]
    array["op_params"][0, : len(params)] = params
    for name, value in fields.items():
        array[name] = value
    return array


def read(array, d=IK):
    columns = translation(d).columns(array)
    return int(columns.op[0]), columns.op_params[0].tolist()


def test_every_op_of_upstream_is_compared_or_has_a_rule():
    ruled = {m.op for m in FORK_MEANINGS}
    assert set(NEWEST.ops) == COMPARED | ruled | {"NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"}


@pytest.mark.parametrize(
    ("op", "params", "newest"),
    [
        ("FLASH_ATTN_EXT", [5, 6, 7, 1], [5, 6, 7, 10]),
        ("MUL_MAT", [1], [10]),
        ("SCALE", [3, 4], [3, 4]),
        ("ROPE", range(15), [*range(15), 0]),
        ("ADD", [], []),
        ("GET_ROWS", [], []),
    ],
)
def test_what_was_compared(op, params, newest):
    assert read(row(op, list(params))) == (NEWEST.ops[op], [*newest, *[0] * (16 - len(newest))])


@pytest.mark.parametrize("name", fork_names())
def test_functions_have_the_numbers_of_the_fork(name):
    d = dialect(name)
    for table, op in ((d.numbering.unary, "UNARY"), (d.numbering.glu, "GLU")):
        if op not in d.numbering.ops:
            continue
        for function, number in table.items():
            expected = getattr(NEWEST, op.lower()).get(function, UNKNOWN)
            assert read(row(op, [number], d), d)[1][0] == expected


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("RMS_NORM", [1]),  # its eps was not compared
        ("ARGSORT", [1]),
        ("SSM_CONV", []),  # changed its form upstream after the fork
        ("SSM_SCAN", []),
        ("CUMSUM", []),  # came later in both
    ],
)
def test_what_was_not_compared_is_refused_by_name(op, params):
    with pytest.raises(BadGraph) as caught:
        read(row(op, params))
    assert str(caught.value) == (
        f"GRAPH_COMPUTE: op is {op} of ik_llama.cpp, expected one whose form was compared with upstream"
    )


def test_a_mode_of_attention_and_an_odd_timestep_are_refused():
    with pytest.raises(BadGraph, match="expected mode 0 in slot 4"):
        read(row("FLASH_ATTN_EXT", [0, 0, 0, 0, 2]))
    with pytest.raises(BadGraph, match="an odd one gives one column more"):
        read(row("TIMESTEP_EMBEDDING", [7]))


@pytest.mark.parametrize("op", ["FUSED_RMS_NORM", "DELTA_NET", "MOE_FUSED_UP_GATE"])
def test_an_op_that_only_the_fork_has_is_refused_by_name(op):
    with pytest.raises(BadGraph) as caught:
        graph_table(np.array([9], np.uint64), row(op), IK)
    assert str(caught.value) == (
        f"GRAPH_COMPUTE: op is {op}, expected an op that can be computed [tensor '']"
    )


@pytest.mark.parametrize("name", ["IQ2_K", "IK_Q8_K", "I2_S", "Q1_0_G128", "Q4_0_R8"])
def test_a_type_that_only_the_fork_has_is_refused_by_name(name):
    array = row("NONE", type=IK.numbering.types[name])
    with pytest.raises(BadGraph, match=f"^GRAPH_COMPUTE: type is {name}, expected a live type"):
        graph_table(np.array([9], np.uint64), array, IK)
    record = from_wire(IK, IK.tensor.unpack(array.tobytes()))
    with pytest.raises(RemoteProtocolError, match=f"SET_TENSOR: tensor.type is {name}, expected"):
        bind_tensor("SET_TENSOR", record, lambda handle: None)


def test_more_sources_than_upstream_has_are_refused():
    array = row("ADD")
    array["src"][0, 12] = 9
    with pytest.raises(BadGraph, match="op is ADD, expected"):
        graph_table(np.array([9], np.uint64), array, IK)


def test_shared_types_keep_their_numbers():
    types = translation(IK).types
    assert types[NEWEST.types["Q4_0"]] == NEWEST.types["Q4_0"]
    assert types[15] == types[34] == types[41] == UNKNOWN


def written(d, *rows):
    """Rows with today's numbers as they are sent to the fork."""
    array = np.zeros(len(rows), tensor_dtype(d))
    for at, (op, params, fields) in enumerate(rows):
        array["id"][at], array["op"][at] = 9 - at, NEWEST.ops[op]
        array["op_params"][at, : len(params)] = params
        for name, value in ({"ne": 1, **fields}).items():
            array[name][at] = value
    translation(d).graph_to_dialect(array)
    return array


@pytest.mark.parametrize("name", ["ik-3.5.2/10src", "ik-3.5.2/16src"])
@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("FLASH_ATTN_EXT", [5, 6, 7, 10]),
        ("MUL_MAT", [10]),
        ("SCALE", [3, 4]),
        ("ROPE", [*range(15)]),
        ("UNARY", [2]),
        ("TIMESTEP_EMBEDDING", [8, 100]),
        ("PERMUTE", [1, 0, 2, 3]),
        ("ADD", []),
    ],
)
def test_what_was_compared_comes_back_as_it_was(name, op, params):
    d = dialect(name)
    assert read(written(d, (op, params, {})), d) == (
        NEWEST.ops[op],
        [*params, *[0] * (16 - len(params))],
    )


@pytest.mark.parametrize(
    ("op", "params", "sentence"),
    [
        ("ROPE", [*[0] * 15, 3], "op_params[15] of ROPE is 3, expected 0"),
        ("MUL_MAT", [0, 1], "op_params[1] of MUL_MAT is 1, expected 0"),
        ("MUL_MAT", [20], "op_params[0] of MUL_MAT is 20, expected 0 or 10"),
        ("FLASH_ATTN_EXT", [0, 0, 0, 20], "op_params[3] of FLASH_ATTN_EXT is 20"),
        ("PAD", [0] * 8 + [1], "op_params[8] of PAD is 1, expected 0"),
        ("TIMESTEP_EMBEDDING", [7, 100], "op_params[0] of TIMESTEP_EMBEDDING is 7, expected even"),
        ("SSM_SCAN", [1], "form of SSM_SCAN is unknown, expected one whose form was compared"),
        ("NORM", [5], "form of NORM is unknown, expected one whose form was compared"),
    ],
)
def test_what_was_not_compared_is_not_sent(op, params, sentence):
    with pytest.raises(UnsupportedOp) as caught:
        written(IK, (op, params, {}))
    assert str(caught.value).startswith(f"GRAPH_COMPUTE: {sentence}")
    assert "ik_llama.cpp" in str(caught.value)


def test_the_bound_of_attention_is_a_hint_and_left_out():
    assert written(IK, ("FLASH_ATTN_EXT", [5, 6, 7, 0, 64], {}))["op_params"][0, 4] == 0
