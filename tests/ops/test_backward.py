"""SILU_BACK, RMS_NORM_BACK, SOFT_MAX_BACK, CROSS_ENTROPY_LOSS and its gradient.

Gradients are compared with differences of the function that they are of.
"""

import math

import numpy as np
import pytest

NMSE = 1e-11
STEP = 1e-6


def derivative(function, x, gradient):
    """d of sum(gradient * function(x)) by each element of x, by central differences; f64 vectors."""
    found = np.zeros(len(x))
    for i in range(len(x)):
        up, down = x.copy(), x.copy()
        up[i] += STEP
        down[i] -= STEP
        found[i] = np.sum(gradient * (function(up) - function(down))) / (2 * STEP)
    return found


def silu(row):
    return row / (1 + np.exp(-row))


def rms_norm(row):
    return row / np.sqrt(np.mean(row * row) + float(np.float32(0.1)))


def soft_max(row):
    e = np.exp(0.5 * row - np.max(0.5 * row))
    return e / e.sum()


@pytest.mark.parametrize("type", ["F32", "F16"])
def test_silu_back(bench, assert_close, type):
    gradient, x = bench.leaf(type, 7, 3), bench.leaf(type, 7, 3)
    rows = zip(bench.numbers(x)[0, 0], bench.numbers(gradient)[0, 0], strict=True)
    expected = [derivative(silu, row, g) for row, g in rows]
    node = bench.node("SILU_BACK", type, x.ne, gradient, x)
    assert_close(bench.run(node), expected, {"F32": NMSE, "F16": 1e-6}[type])


def test_rms_norm_back(bench, assert_close):
    gradient, x = bench.leaf("F32", 7, 3), bench.leaf("F32", 7, 3)
    rows = zip(bench.numbers(x)[0, 0], bench.numbers(gradient)[0, 0], strict=True)
    expected = [derivative(rms_norm, row, g) for row, g in rows]
    node = bench.node("RMS_NORM_BACK", "F32", x.ne, gradient, x, params={0: 0.1})
    assert_close(bench.run(node), expected, NMSE)


def test_soft_max_back(bench, assert_close):
    logits = bench.rng.standard_normal((3, 7))
    gradient = bench.leaf("F32", 7, 3)
    y = bench.leaf("F32", 7, 3, data=[soft_max(row) for row in logits])
    rows = zip(logits, bench.numbers(gradient)[0, 0], strict=True)
    expected = [derivative(soft_max, row, g) for row, g in rows]
    node = bench.node("SOFT_MAX_BACK", "F32", y.ne, gradient, y, params={0: 0.5})
    assert_close(bench.run(node), expected, NMSE)


def loss(logits, labels):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        log_sum = math.log(sum(math.exp(v) for v in row))
        total -= sum(w * (v - log_sum) for v, w in zip(row, label, strict=True))
    return total / len(logits)


def test_cross_entropy_loss(bench, assert_close):
    logits, labels = bench.leaf("F32", 7, 3, 2), bench.leaf("F32", 7, 3, 2)
    expected = loss(bench.numbers(logits).reshape(6, 7), bench.numbers(labels).reshape(6, 7))
    node = bench.node("CROSS_ENTROPY_LOSS", "F32", (1,), logits, labels)
    assert_close(bench.run(node), [expected], NMSE)


def test_cross_entropy_loss_of_large_logits(bench, assert_close):
    logits = bench.leaf("F32", 2, 1, data=[1000.0, 999.0])
    labels = bench.leaf("F32", 2, 1, data=[0.0, 1.0])
    node = bench.node("CROSS_ENTROPY_LOSS", "F32", (1,), logits, labels)
    assert_close(bench.run(node), [1 + math.log1p(math.exp(-1))], NMSE)


def test_cross_entropy_loss_back(bench, assert_close):
    logits = bench.leaf("F32", 5, 4)
    shares = [soft_max(row) for row in bench.rng.standard_normal((4, 5))]  # rows that sum to 1
    labels, gradient = bench.leaf("F32", 5, 4, data=shares), bench.leaf("F32", 1, data=[-1.5])
    y = bench.numbers(labels).reshape(4, 5)
    expected = derivative(
        lambda x: np.array(loss(x.reshape(4, 5), y)), bench.numbers(logits).ravel(), -1.5
    )
    node = bench.node("CROSS_ENTROPY_LOSS_BACK", "F32", logits.ne, gradient, logits, labels)
    assert_close(bench.run(node), expected, 1e-10)


REFUSALS = [
    ("SILU_BACK", (4, 2), [(4, 2), (4, 3)], {}, "src[1].ne is [4, 3, 1, 1], expected src[0].ne"),
    ("SILU_BACK", (4, 3), [(4, 2), (4, 2)], {}, "ne is [4, 3, 1, 1], expected src[0].ne"),
    ("RMS_NORM_BACK", (4, 2), [(4, 2), (4, 1)], {}, "src[1].ne is [4, 1, 1, 1], expected src[0].ne"),
    ("RMS_NORM_BACK", (4, 2), [(4, 2), (4, 2)], {0: -1.0}, "eps is -1.0, expected at least 0"),
    ("SOFT_MAX_BACK", (4, 2), [(4, 2), (3, 2)], {}, "src[1].ne is [3, 2, 1, 1], expected src[0].ne"),
    ("SOFT_MAX_BACK", (4, 2), [(4, 2), (4, 2)], {1: 8.0}, "max_bias is 8.0, expected 0"),
    ("CROSS_ENTROPY_LOSS", (1,), [(4, 2), (4, 1)], {}, "src[1].ne is [4, 1, 1, 1], expected src[0].ne"),
    ("CROSS_ENTROPY_LOSS", (1,), [(0, 2), (0, 2)], {}, "src[0].ne is [0, 2, 1, 1], expected at least one element"),
    ("CROSS_ENTROPY_LOSS", (2,), [(4, 2), (4, 2)], {}, "ne is [2, 1, 1, 1], expected [1, 1, 1, 1]"),
    (
        "CROSS_ENTROPY_LOSS_BACK", (4, 2), [(2,), (4, 2), (4, 2)], {},
        "src[0].ne is [2, 1, 1, 1], expected one element",
    ),
    (
        "CROSS_ENTROPY_LOSS_BACK", (4, 2), [(1,), (4, 2), (4, 3)], {},
        "src[2].ne is [4, 3, 1, 1], expected src[1].ne",
    ),
    (
        "CROSS_ENTROPY_LOSS_BACK", (4, 3), [(1,), (4, 2), (4, 2)], {},
        "ne is [4, 3, 1, 1], expected src[1].ne",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "ne", "sources", "params", "sentence"), REFUSALS)
def test_refusals(bench, name, ne, sources, params, sentence):
    node = bench.node(name, "F32", ne, *(bench.tensor("F32", *s) for s in sources), params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [{name} 'y']"
