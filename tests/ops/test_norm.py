"""NORM, RMS_NORM, L2_NORM and GROUP_NORM."""

import math

import numpy as np
import pytest

ROWS = {
    "NORM": lambda r, eps: [(v - sum(r) / len(r)) / math.sqrt(variance(r) + eps) for v in r],
    "RMS_NORM": lambda r, eps: [v / math.sqrt(sum(w * w for w in r) / len(r) + eps) for v in r],
    "L2_NORM": lambda r, eps: [v / max(math.sqrt(sum(w * w for w in r)), eps) for v in r],
}


def variance(row):
    """Mean square distance from the mean."""
    mean = sum(row) / len(row)
    return sum((v - mean) ** 2 for v in row) / len(row)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("eps", [0.0, 1e-5, 2.0])
def test_rows(bench, assert_close, name, eps):
    a = bench.leaf("F32", 11, 3, 2, 2)
    x = bench.numbers(a).reshape(-1, 11)
    expected = [ROWS[name](row.tolist(), float(np.float32(eps))) for row in x]
    node = bench.node(name, "F32", a.ne, a, params={0: eps})
    assert_close(bench.run(node), expected, 1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_permuted_source_and_in_place(bench, assert_close, name):
    a = bench.transposed(bench.leaf("F32", 8, 3, 5), 0, 2, 1, 3)
    expected = [ROWS[name](row.tolist(), 1e-5) for row in bench.numbers(a).reshape(-1, 8)]
    node = bench.node(name, "F32", a.ne, a, params={0: 1e-5}, buffer=a.buffer, nb=a.nb)
    assert_close(bench.run(node), expected, 1e-12)
    assert_close(bench.numbers(a), expected, 1e-12)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("eps", [-1.0, math.nan])
def test_eps_must_not_be_negative(bench, name, eps):
    a = bench.leaf("F32", 4)
    assert bench.refusal(bench.node(name, "F32", a.ne, a, params={0: eps})) == (
        f"GRAPH_COMPUTE: eps is {eps}, expected at least 0 [{name} 'y']"
    )


@pytest.mark.parametrize("n_groups", [1, 2, 3, 5, 32])
def test_group_norm(bench, assert_close, n_groups):
    a = bench.leaf("F32", 3, 2, 5, 2)
    x = bench.numbers(a)
    expected = np.empty(x.shape)
    per_group = math.ceil(5 / n_groups)
    for n in range(2):
        for start in range(0, 5, per_group):
            part = x[n, start : start + per_group]
            row = ROWS["NORM"](part.ravel().tolist(), float(np.float32(1e-5)))
            expected[n, start : start + per_group] = np.reshape(row, part.shape)
    node = bench.node("GROUP_NORM", "F32", a.ne, a, params={0: n_groups, 1: 1e-5})
    assert_close(bench.run(node), expected, 1e-12)


@pytest.mark.parametrize("n_groups", [0, -3])
def test_group_norm_refuses_no_groups(bench, n_groups):
    a = bench.leaf("F32", 3, 2, 5)
    node = bench.node("GROUP_NORM", "F32", a.ne, a, params={0: n_groups, 1: 1e-5})
    assert bench.refusal(node) == (
        f"GRAPH_COMPUTE: n_groups is {n_groups}, expected at least 1 [GROUP_NORM 'y']"
    )
