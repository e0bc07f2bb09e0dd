"""SOLVE_TRI."""

import numpy as np
import pytest


@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 3), (17, 2)])
def test_solve_tri(bench, assert_close, n, m):
    lower = bench.rng.uniform(-0.5, 0.5, (2, 3, n, n)) + 2 * np.eye(
        n
    )  # the upper triangle is not zero
    a, b = bench.leaf("F32", n, n, 3, 2, data=lower), bench.leaf("F32", m, n, 3, 2)
    matrix, right = bench.numbers(a), bench.numbers(b)
    expected = np.zeros(right.shape)
    for i3, i2, j, i in np.ndindex(2, 3, m, n):
        known = sum(matrix[i3, i2, i, t] * expected[i3, i2, t, j] for t in range(i))
        expected[i3, i2, i, j] = (right[i3, i2, i, j] - known) / matrix[i3, i2, i, i]
    assert_close(bench.run(bench.node("SOLVE_TRI", "F32", b.ne, a, b)), expected, 1e-12)


def test_a_zero_on_the_diagonal_is_not_a_fault(bench):
    a = bench.leaf("F32", 2, 2, data=[1, 0, 1, 0])
    b = bench.leaf("F32", 1, 2, data=[1, 3])
    found = bench.run(bench.node("SOLVE_TRI", "F32", (1, 2), a, b)).ravel()
    assert found.tolist() == [1.0, np.inf]


@pytest.mark.parametrize(
    ("a", "b", "ne", "sentence"),
    [
        ((3, 4), (2, 4), (2, 4), "src[0].ne[1] is 4, expected src[0].ne[0]"),
        (
            (3, 3, 2), (2, 3), (2, 3),
            "src[1].ne is [2, 3, 1, 1], expected [any, src[0].ne[1], src[0].ne[2], src[0].ne[3]]",
        ),
        ((3, 3), (2, 3), (3, 3), "ne is [3, 3, 1, 1], expected src[1].ne"),
    ],
)  # fmt: skip
def test_refusals(bench, a, b, ne, sentence):
    node = bench.node("SOLVE_TRI", "F32", ne, bench.tensor("F32", *a), bench.tensor("F32", *b))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [SOLVE_TRI 'y']"


def test_refuses_gaps(bench):
    a = bench.transposed(bench.tensor("F32", 3, 3), 1, 0, 2, 3)
    node = bench.node("SOLVE_TRI", "F32", (2, 3), a, bench.tensor("F32", 2, 3))
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[0].nb is [12, 4, 36, 36], expected strides without gaps [SOLVE_TRI 'y']"
    )
