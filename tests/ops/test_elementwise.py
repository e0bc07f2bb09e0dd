"""Arithmetic with tiling and functions of one value."""

import math

import numpy as np
import pytest

ARITHMETIC = {
    "ADD": lambda a, b: a + b,
    "SUB": lambda a, b: a - b,
    "MUL": lambda a, b: a * b,
    "DIV": lambda a, b: a / b,
}
FUNCTIONS = {
    "SQR": lambda v: v * v,
    "SQRT": lambda v: math.sqrt(v) if v >= 0 else math.nan,
    "LOG": lambda v: math.log(v) if v > 0 else math.nan,
    "SIN": math.sin,
    "COS": math.cos,
}


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize(
    "types", [("F32", "F32", "F32"), ("F16", "F32", "F16"), ("BF16", "F32", "F32")]
)
def test_source_1_is_tiled_over_source_0(bench, assert_close, name, types):
    a, b = bench.leaf(types[0], 6, 4, 3, 2), bench.leaf(types[1], 3, 2, 1, 2)
    x, y = bench.numbers(a), bench.numbers(b)
    expected = np.empty(x.shape)
    for i3, i2, i1, i0 in np.ndindex(x.shape):
        expected[i3, i2, i1, i0] = ARITHMETIC[name](x[i3, i2, i1, i0], y[i3 % 2, 0, i1 % 2, i0 % 3])
    found = bench.run(bench.node(name, types[2], a.ne, a, b))
    assert_close(found, expected, 1e-13 if types[2] == "F32" else 1e-6)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_in_place_and_on_permuted_sources(bench, name):
    a = bench.leaf("F32", 5, 3, 4)
    b = bench.leaf("F32", 3, 5, 4)
    x, y = bench.numbers(a), bench.numbers(b)
    turned = bench.transposed(b, 1, 0, 2, 3)
    found = bench.run(bench.node(name, "F32", a.ne, a, turned, buffer=a.buffer))
    expected = ARITHMETIC[name](x.astype(np.float32), y.swapaxes(2, 3).astype(np.float32))
    assert np.array_equal(found, expected)
    assert np.array_equal(bench.numbers(a), expected)


def test_a_quantized_weight_plus_f32(bench, assert_close):
    a, b = bench.leaf("Q8_0", 64, 3), bench.leaf("F32", 64, 3)
    expected = bench.numbers(a) + bench.numbers(b)
    assert_close(bench.run(bench.node("ADD", "F32", a.ne, a, b)), expected)
    assert_close(bench.run(bench.node("ADD", "Q8_0", a.ne, a, b)), expected, 1e-4)


def test_arithmetic_refusals(bench):
    a = bench.leaf("F32", 6, 4)
    assert (
        bench.refusal(bench.node("ADD", "F32", (6, 4), a, bench.leaf("F32", 4, 4)))
        == "GRAPH_COMPUTE: src[1].ne is [4, 4, 1, 1], expected extents that divide src[0].ne [ADD 'y']"
    )
    assert (
        bench.refusal(bench.node("ADD", "F32", (6, 4), a, bench.leaf("F32", 0, 4)))
        == "GRAPH_COMPUTE: src[1].ne is [0, 4, 1, 1], expected extents that divide src[0].ne [ADD 'y']"
    )
    assert (
        bench.refusal(bench.node("MUL", "F32", (6, 5), a, a))
        == "GRAPH_COMPUTE: ne is [6, 5, 1, 1], expected src[0].ne [MUL 'y']"
    )


def test_add1(bench):
    a, b = bench.leaf("F32", 5, 2), bench.leaf("F32", 1, data=[0.25])
    expected = (view32(bench, a) + np.float32(0.25)).astype(np.float64)
    assert np.array_equal(bench.run(bench.node("ADD1", "F32", a.ne, a, b)), expected)
    assert (
        bench.refusal(bench.node("ADD1", "F32", a.ne, a, a))
        == "GRAPH_COMPUTE: src[1].ne is [5, 2, 1, 1], expected one element [ADD1 'y']"
    )


def view32(bench, tensor):
    """The elements in f32."""
    return bench.numbers(tensor).astype(np.float32)


def test_add_id(bench):
    a, b = bench.leaf("F32", 3, 2, 4), bench.leaf("F32", 3, 5)
    ids = bench.leaf("I32", 2, 4, data=[0, 4, 1, 1, 3, 2, 0, 0])
    x, y = view32(bench, a), view32(bench, b)
    expected = x.copy()
    for token in range(4):
        for used in range(2):
            expected[0, token, used] += y[0, 0, bench.numbers(ids)[0, 0, token, used]]
    assert np.array_equal(bench.run(bench.node("ADD_ID", "F32", a.ne, a, b, ids)), expected)


def test_add_id_refusals(bench):
    a, b, ids = bench.leaf("F32", 3, 2, 4), bench.leaf("F32", 3, 5), bench.leaf("I32", 2, 4)
    assert bench.refusal(bench.node("ADD_ID", "F32", a.ne, a, bench.leaf("F32", 1, 5), ids)) == (
        "GRAPH_COMPUTE: src[1].ne[0] is 1, expected src[0].ne[0] [ADD_ID 'y']"
    )
    assert bench.refusal(bench.node("ADD_ID", "F32", a.ne, a, b, bench.leaf("I32", 2, 3))) == (
        "GRAPH_COMPUTE: src[2].ne is [2, 3, 1, 1], expected [src[0].ne[1], src[0].ne[2], 1, 1] [ADD_ID 'y']"
    )
    assert bench.refusal(bench.node("ADD_ID", "F32", a.ne, a, b, bench.leaf("F32", 2, 4))) == (
        "GRAPH_COMPUTE: src[2].type is F32, expected I32 [ADD_ID 'y']"
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("types", [("F32", "F32"), ("F16", "F32"), ("BF16", "BF16")])
def test_functions_of_one_value(bench, assert_close, name, types):
    a = bench.leaf(types[0], 7, 5)
    expected = np.vectorize(FUNCTIONS[name])(bench.numbers(a))
    found = bench.run(bench.node(name, types[1], a.ne, a))
    assert_close(found, expected, 1e-12 if types[1] == "F32" else 1e-5)


def test_scale_clamp_leaky_relu(bench, assert_close):
    a = bench.leaf("F32", 9, 3)
    x = bench.numbers(a)
    found = bench.run(bench.node("SCALE", "F32", a.ne, a, params={0: 0.5, 1: -2.0}))
    assert_close(found, x * 0.5 - 2.0)
    found = bench.run(
        bench.node("CLAMP", "F32", a.ne, a, params={0: -0.25, 1: 0.5}, buffer=a.buffer)
    )
    assert np.array_equal(found, np.minimum(np.maximum(x, -0.25), 0.5))
    a = bench.leaf("F32", 9, 3)
    x = bench.numbers(a)
    found = bench.run(bench.node("LEAKY_RELU", "F32", a.ne, a, params={0: 0.125}))
    assert np.array_equal(found, np.where(x > 0, x, x * 0.125))
