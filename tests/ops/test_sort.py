"""ARGSORT, TOP_K, ARGMAX."""

import numpy as np
import pytest


@pytest.mark.parametrize("type", ["F32", "F16"])
@pytest.mark.parametrize("order", [0, 1])
def test_argsort(bench, type, order):
    a = bench.leaf(type, 9, 3, 2)
    x = bench.numbers(a)
    found = bench.run(bench.node("ARGSORT", "I32", a.ne, a, params={0: order}))
    for i in np.ndindex(2, 3):
        expected = sorted(range(9), key=lambda j: x[0][i][j], reverse=bool(order))
        assert found[0][i].tolist() == expected


def test_argsort_refuses_another_order(bench):
    a = bench.leaf("F32", 9)
    assert bench.refusal(bench.node("ARGSORT", "I32", a.ne, a, params={0: 2})) == (
        "GRAPH_COMPUTE: order is 2, expected 0 or 1 [ARGSORT 'y']"
    )


def test_top_k(bench):
    a = bench.leaf("F32", 9, 3)
    found = bench.run(bench.node("TOP_K", "I32", (4, 3), a))
    for i in range(3):
        row = bench.numbers(a)[0, 0, i]
        assert set(found[0, 0, i].tolist()) == set(sorted(range(9), key=lambda j: -row[j])[:4])


def test_top_k_refusals(bench):
    a = bench.leaf("F32", 9, 3)
    assert bench.refusal(bench.node("TOP_K", "I32", (10, 3), a)) == (
        "GRAPH_COMPUTE: ne[0] is 10, expected at most src[0].ne[0] [TOP_K 'y']"
    )
    assert bench.refusal(bench.node("TOP_K", "I32", (4, 2), a)) == (
        "GRAPH_COMPUTE: ne is [4, 2, 1, 1], expected [k, src[0].ne[1], src[0].ne[2], src[0].ne[3]] "
        "[TOP_K 'y']"
    )


def test_argmax(bench):
    a = bench.leaf("F32", 4, 3, data=[1, 5, 5, 2, 9, 1, 1, 1, -3, -2, -4, -1])
    assert bench.run(bench.node("ARGMAX", "I32", (3,), a)).ravel().tolist() == [2, 0, 3]


def test_argmax_starts_anew_behind_a_nan(bench):
    inf, nan = np.inf, np.nan
    a = bench.leaf("F32", 3, 4, data=[9, nan, 1, nan, 2, nan, -inf, -inf, -inf, nan, nan, nan])
    assert bench.run(bench.node("ARGMAX", "I32", (4,), a)).ravel().tolist() == [2, 1, 2, 0]


def test_argmax_refusals(bench):
    assert bench.refusal(bench.node("ARGMAX", "I32", (3,), bench.tensor("F32", 0, 3))) == (
        "GRAPH_COMPUTE: src[0].ne[0] is 0, expected at least 1 [ARGMAX 'y']"
    )
    assert bench.refusal(bench.node("ARGMAX", "I32", (3,), bench.tensor("F32", 2, 3, 2))) == (
        "GRAPH_COMPUTE: src[0].ne is [2, 3, 2, 1], expected a matrix [ARGMAX 'y']"
    )
    assert bench.refusal(bench.node("ARGMAX", "I32", (2,), bench.tensor("F32", 2, 3))) == (
        "GRAPH_COMPUTE: ne is [2, 1, 1, 1], expected [src[0].ne[1], 1, 1, 1] [ARGMAX 'y']"
    )
