"""Sums of rows, of everything, and of tiles."""

import math

import numpy as np
import pytest


@pytest.mark.parametrize("type", ["F32", "F16", "BF16"])
def test_sum(bench, assert_close, type):
    a = bench.leaf(type, 7, 3, 2, 2)
    found = bench.run(bench.node("SUM", type, (1,), a))
    assert_close(found, [math.fsum(bench.numbers(a).ravel())], 1e-13 if type == "F32" else 1e-4)


def test_sum_keeps_small_terms_beside_large_ones(bench):
    a = bench.leaf("F32", 4, data=[1e8, 1.0, -1e8, 0.5])
    assert bench.run(bench.node("SUM", "F32", (1,), a)).item() == 1.5
    assert bench.run(bench.node("SUM_ROWS", "F32", (1,), a)).item() == 1.5
    assert bench.run(bench.node("MEAN", "F32", (1,), a)).item() == 0.375


@pytest.mark.parametrize("name", ["SUM_ROWS", "MEAN", "CUMSUM"])
def test_rows(bench, assert_close, name):
    a = bench.transposed(bench.leaf("F32", 7, 3, 2), 0, 2, 1, 3)
    rows = bench.numbers(a).reshape(-1, 7).tolist()
    if name == "CUMSUM":
        expected = [[math.fsum(row[: i + 1]) for i in range(7)] for row in rows]
    else:
        expected = [math.fsum(row) / (7 if name == "MEAN" else 1) for row in rows]
    ne = a.ne if name == "CUMSUM" else (1, *a.ne[1:])
    assert_close(bench.run(bench.node(name, "F32", ne, a)), expected)


def test_the_mean_of_nothing_is_nan(bench):
    assert np.isnan(bench.run(bench.node("MEAN", "F32", (1, 2), bench.tensor("F32", 0, 2)))).all()


def test_count_equal(bench):
    a = bench.leaf("I32", 4, 3, data=np.arange(12) % 4)
    b = bench.leaf("I32", 4, 3, data=np.arange(12) % 3)
    expected = sum(i % 4 == i % 3 for i in range(12))
    assert bench.run(bench.node("COUNT_EQUAL", "I64", (1,), a, b)).item() == expected


def test_repeat_back(bench, assert_close):
    a = bench.leaf("F32", 6, 4, 3, 2)
    x = bench.numbers(a)
    expected = np.zeros((1, 3, 2, 3))
    for i3, i2, i1, i0 in np.ndindex(x.shape):
        expected[0, i2, i1 % 2, i0 % 3] += x[i3, i2, i1, i0]
    assert_close(bench.run(bench.node("REPEAT_BACK", "F32", (3, 2, 3, 1), a)), expected)


REFUSALS = [
    ("SUM", "F32", (2,), ["F32"], "ne is [2, 1, 1, 1], expected one element"),
    ("SUM_ROWS", "F32", (1, 4), ["F32"], "ne is [1, 4, 1, 1], expected [1, src[0].ne[1], src[0].ne[2], src[0].ne[3]]"),
    ("CUMSUM", "F32", (6, 4), ["F32"], "ne is [6, 4, 1, 1], expected src[0].ne"),
    ("REPEAT_BACK", "F32", (4, 3), ["F32"], "ne is [4, 3, 1, 1], expected extents that divide src[0].ne"),
    ("COUNT_EQUAL", "I64", (2,), ["I32", "I32"], "ne is [2, 1, 1, 1], expected one element"),
    ("COUNT_EQUAL", "I32", (1,), ["I32", "I32"], "type is I32, expected I64"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "type", "ne", "sources", "sentence"), REFUSALS)
def test_refusals(bench, op, type, ne, sources, sentence):
    node = bench.node(op, type, ne, *(bench.tensor(t, 6, 3) for t in sources))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [{op} 'y']"


def test_count_equal_needs_equal_shapes(bench):
    node = bench.node(
        "COUNT_EQUAL", "I64", (1,), bench.tensor("I32", 6, 3), bench.tensor("I32", 3, 6)
    )
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[1].ne is [3, 6, 1, 1], expected src[0].ne [COUNT_EQUAL 'y']"
    )
