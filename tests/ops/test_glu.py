"""Each function of GLU, with one source and with two."""

import math

import numpy as np
import pytest

from ggmlrpc_core.ggml.numbering import NEWEST

ALPHA, LIMIT = 1.702, 0.75


def silu(g):
    return g / (1 + math.exp(-g))


def bounded(u):
    return min(max(u, -LIMIT), LIMIT)


EXPECTED = {
    "REGLU": lambda g, u: max(g, 0.0) * u,
    "GEGLU": lambda g, u: (
        0.5 * g * (1 + math.tanh(math.sqrt(2 / math.pi) * g * (1 + 0.044715 * g * g))) * u
    ),
    "SWIGLU": lambda g, u: silu(g) * u,
    "SWIGLU_OAI": lambda g, u: (
        min(g, LIMIT) / (1 + math.exp(-ALPHA * min(g, LIMIT))) * (bounded(u) + 1)
    ),
    "GEGLU_ERF": lambda g, u: 0.5 * g * (1 + math.erf(g / math.sqrt(2))) * u,
    "GEGLU_QUICK": lambda g, u: g / (1 + math.exp(-1.702 * g)) * u,
    "SWIGLU_CLAMP": lambda g, u: silu(min(g, LIMIT)) * bounded(u),
}


def test_every_function_is_tested():
    assert set(EXPECTED) == set(NEWEST.glu)


def params_of(name, swapped=0):
    return {0: NEWEST.glu[name], 1: swapped, 2: ALPHA, 3: LIMIT}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("swapped", [0, 1])
@pytest.mark.parametrize("type", ["F32", "F16", "BF16"])
def test_one_source_holds_both_halves(bench, assert_close, name, swapped, type):
    a = bench.leaf(type, 12, 3, 2)
    x = bench.numbers(a)
    gate, up = (x[..., 6:], x[..., :6]) if swapped else (x[..., :6], x[..., 6:])
    expected = np.vectorize(EXPECTED[name])(gate, up)
    found = bench.run(bench.node("GLU", type, (6, 3, 2), a, params=params_of(name, swapped)))
    assert_close(found, expected, {"F32": 1e-12, "F16": 1e-6, "BF16": 1e-4}[type])


@pytest.mark.parametrize("swapped", [0, 1])
def test_the_last_value_of_an_odd_row_is_not_read(bench, assert_close, swapped):
    a = bench.leaf("F32", 13, 3, 2)
    x = bench.numbers(a)
    gate, up = (x[..., 6:12], x[..., :6]) if swapped else (x[..., :6], x[..., 6:12])
    expected = np.vectorize(EXPECTED["REGLU"])(gate, up)
    params = params_of("REGLU", swapped)
    assert_close(bench.run(bench.node("GLU", "F32", (6, 3, 2), a, params=params)), expected, 1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_two_sources(bench, assert_close, name):
    a, b = bench.leaf("F32", 6, 3, 2), bench.leaf("F32", 6, 3, 2)
    expected = np.vectorize(EXPECTED[name])(bench.numbers(a), bench.numbers(b))
    found = bench.run(bench.node("GLU", "F32", a.ne, a, b, params=params_of(name), buffer=a.buffer))
    assert_close(found, expected, 1e-12)


REFUSALS = [
    ((12, 3), None, (6, 3), 7, "glu function is 7, expected inside [0, 7)"),
    ((12, 3), None, (6, 3), -1, "glu function is -1, expected inside [0, 7)"),
    ((12, 3), (12, 2), (12, 3), 0, "src[1].ne is [12, 2, 1, 1], expected src[0].ne"),
    (
        (12, 3),
        None,
        (12, 3),
        0,
        "ne is [12, 3, 1, 1], expected src[0].ne, with half of ne[0] without src[1]",
    ),
    (
        (12, 3),
        (12, 3),
        (6, 3),
        0,
        "ne is [6, 3, 1, 1], expected src[0].ne, with half of ne[0] without src[1]",
    ),
]


@pytest.mark.parametrize(("a", "b", "ne", "function", "sentence"), REFUSALS)
def test_refusals(bench, a, b, ne, function, sentence):
    sources = [bench.leaf("F32", *a)] + ([bench.leaf("F32", *b)] if b else [])
    node = bench.node("GLU", "F32", ne, *sources, params={0: function})
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [GLU 'y']"


def test_both_sources_have_one_type(bench):
    node = bench.node("GLU", "F32", (6,), bench.leaf("F32", 6), bench.leaf("F16", 6))
    assert (
        bench.refusal(node)
        == "GRAPH_COMPUTE: src[1].type is F16, expected the type of src[0] [GLU 'y']"
    )
