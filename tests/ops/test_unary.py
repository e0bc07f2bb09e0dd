"""Each function of UNARY against the math module."""

import math

import numpy as np
import pytest

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ops.unary import erf


def sigmoid(v):
    return 1 / (1 + math.exp(-v))


def away_from_zero(v):
    return math.copysign(math.floor(abs(v) + 0.5), v)


EXPECTED = {
    "ABS": abs,
    "SGN": lambda v: float(v > 0) - float(v < 0),
    "NEG": lambda v: -v,
    "STEP": lambda v: float(v > 0),
    "TANH": math.tanh,
    "ELU": lambda v: v if v > 0 else math.expm1(v),
    "RELU": lambda v: max(v, 0.0),
    "SIGMOID": sigmoid,
    "GELU": lambda v: (
        0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * v * (1 + 0.044715 * v * v)))
    ),
    "GELU_QUICK": lambda v: v * sigmoid(1.702 * v),
    "SILU": lambda v: v * sigmoid(v),
    "HARDSWISH": lambda v: v * min(1.0, max(0.0, (v + 3) / 6)),
    "HARDSIGMOID": lambda v: min(1.0, max(0.0, (v + 3) / 6)),
    "EXP": math.exp,
    "EXPM1": math.expm1,
    "SOFTPLUS": lambda v: v if v > 20 else math.log1p(math.exp(v)),
    "GELU_ERF": lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))),
    "XIELU": lambda v: (
        0.9 * v * v + 0.5 * v if v > 0 else (math.expm1(min(v, -1e-6)) - v) * 0.8 + 0.5 * v
    ),
    "FLOOR": math.floor,
    "CEIL": math.ceil,
    "ROUND": away_from_zero,
    "TRUNC": math.trunc,
}
XIELU = {1: 0.8, 2: 0.9, 3: 0.5, 4: -1e-6}
VALUES = [
    -30.0,
    -7.5,
    -3.0,
    -2.5,
    -1.5,
    -0.5,
    -0.1,
    0.0,
    0.1,
    0.49999997,
    0.5,
    1.5,
    2.5,
    3.0,
    9.9,
    25.0,
]


def test_every_function_is_tested():
    assert set(EXPECTED) == set(NEWEST.unary)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("types", [("F32", "F32"), ("F16", "F16"), ("BF16", "F32"), ("F16", "F32")])
def test_function(bench, assert_close, name, types):
    a = bench.leaf(types[0], 16, 2, data=[*VALUES, *bench.rng.standard_normal(16)])
    expected = np.vectorize(EXPECTED[name], otypes=[float])(bench.numbers(a))
    if types[1] == "F16":
        expected = np.where(expected > 65504, math.inf, expected)
    params = {0: NEWEST.unary[name]} | (XIELU if name == "XIELU" else {})
    found = bench.run(bench.node("UNARY", types[1], a.ne, a, params=params))
    assert_close(found, expected, 1e-11 if types[1] == "F32" else 1e-6)


def test_in_place(bench):
    a = bench.leaf("F32", 4, data=[-1, 2, -3, 4])
    bench.run(
        bench.node("UNARY", "F32", a.ne, a, params={0: NEWEST.unary["RELU"]}, buffer=a.buffer)
    )
    assert bench.numbers(a).ravel().tolist() == [0, 2, 0, 4]


@pytest.mark.parametrize("number", [-1, 22, 10_000])
def test_unknown_functions_are_refused(bench, number):
    a = bench.leaf("F32", 4)
    assert bench.refusal(bench.node("UNARY", "F32", a.ne, a, params={0: number})) == (
        f"GRAPH_COMPUTE: unary function is {number}, expected inside [0, 22) [UNARY 'y']"
    )


def test_erf_of_the_whole_line():
    x = np.concatenate([np.linspace(-8, 8, 4001), [np.inf, -np.inf]]).astype(np.float32)
    expected = [math.erf(v) for v in x.tolist()]
    assert np.abs(erf(np, x) - expected).max() < 1e-7
