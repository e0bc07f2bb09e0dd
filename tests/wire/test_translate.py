import struct

import numpy as np
import pytest

from ggmlrpc_core.ggml.numbering import NEWEST, numbering
from ggmlrpc_core.wire.dialects import Dialect, dialect
from ggmlrpc_core.wire.tensors import tensor_dtype
from ggmlrpc_core.wire.translate import UNKNOWN, translation
from ggmlrpc_core.wire.version import V

OLD = Dialect("old", V(5, 1), "2026-06-09", numbering("4.0.0", "2026-04-15"))


def rows(d, *pairs):
    array = np.zeros(len(pairs), tensor_dtype(d))
    for i, (op, function) in enumerate(pairs):
        array["op"][i] = op
        array["op_params"][i, 0] = function
    return array


def test_numbers_of_an_older_state_become_canonical():
    ops = numbering("4.0.0", "2026-04-15")
    array = rows(
        OLD,
        (ops.ops["FLASH_ATTN_EXT"], 7),
        (ops.ops["GLU"], ops.glu["SWIGLU"]),
        (ops.ops["UNARY"], 10),
    )
    assert ops.ops["GLU"] != NEWEST.ops["GLU"]
    _, op, params, _ = translation(OLD).columns(array)
    assert op.tolist() == [NEWEST.ops["FLASH_ATTN_EXT"], NEWEST.ops["GLU"], NEWEST.ops["UNARY"]]
    assert params[:, 0].tolist() == [7, NEWEST.glu["SWIGLU"], NEWEST.unary["SILU"]]


def test_there_and_back_is_the_same():
    ops = numbering("4.0.0", "2026-04-15")
    array = rows(OLD, (ops.ops["GLU"], 2), (ops.ops["UNARY"], 21), (0, 5))
    types, op, params, _ = translation(OLD).columns(array)
    back = array.copy()
    back["type"], back["op"], back["op_params"] = types, op, params
    translation(OLD).to_dialect(back)
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("number", [101, 2**31, 2**32 - 1])
def test_unknown_numbers_become_unknown(number):
    array = rows(dialect("7.0.0"), (number, 0))
    array["type"] = number
    types, op, _, _ = translation(dialect("7.0.0")).columns(array)
    assert (types[0], op[0]) == (UNKNOWN, UNKNOWN)


@pytest.mark.parametrize("function", [-1, 22, 2**31 - 1])
def test_unknown_functions_become_unknown(function):
    _, _, params, _ = translation(dialect("7.0.0")).columns(
        rows(dialect("7.0.0"), (NEWEST.ops["UNARY"], function))
    )
    assert params[0, 0] == UNKNOWN


@pytest.mark.parametrize(("name", "scale"), [("5.1.0", 1.0), ("6.0.0", 1.0), ("7.0.0", 0.0)])
def test_dsv4_hc_pre_before_7_has_scale_one(name, scale):
    d = dialect(name)
    _, _, params, _ = translation(d).columns(rows(d, (NEWEST.ops["DSV4_HC_PRE"], 0)))
    assert struct.unpack("<f", params[0, :1].tobytes())[0] == scale


def test_an_op_that_the_dialect_lacks_is_named():
    array = rows(OLD, (NEWEST.ops["DSV4_HC_PRE"], 0))
    with pytest.raises(KeyError, match="DSV4_HC_PRE"):
        translation(OLD).to_dialect(array)


@pytest.mark.parametrize("op", ["NONE", "MUL_MAT", "UNARY", "GLU"])
def test_one_tensor_reads_like_a_row(op):
    numbers = numbering("4.0.0", "2026-04-15")
    array = rows(OLD, (numbers.ops[op], 3))
    array["type"] = 8
    types, ops, params, _ = translation(OLD).columns(array)
    single = translation(OLD).one(8, numbers.ops[op], (3, *[0] * 15))
    assert single == (types[0], ops[0], tuple(params[0]))


@pytest.mark.parametrize("number", [1000, 2**32 - 1])
def test_one_tensor_with_unknown_numbers(number):
    params = (5,) * 16
    assert translation(OLD).one(number, number, params) == (UNKNOWN, UNKNOWN, params)
