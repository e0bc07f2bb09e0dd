"""Ops that make values from positions."""

import math

import numpy as np
import pytest


@pytest.mark.parametrize("type", ["F32", "F16"])
def test_fill(bench, type):
    a = bench.leaf(type, 3, 2)
    assert (
        bench.run(bench.node("FILL", type, a.ne, a, params={0: 2.5}, buffer=a.buffer)) == 2.5
    ).all()


def test_arange(bench):
    found = bench.run(bench.node("ARANGE", "F32", (5,), params={0: 1.0, 1: 3.25, 2: 0.5}))
    assert found.ravel().tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({0: 0.0, 1: 5.0, 2: 0.0}, "step is 0.0, expected a number other than 0"),
        ({0: 0.0, 1: 5.0, 2: math.nan}, "step is nan, expected a number other than 0"),
        ({0: 0.0, 1: 9.0, 2: 1.0}, "ne[0] is 5, expected the steps from start to stop"),
        ({0: 0.0, 1: math.inf, 2: 1.0}, "ne[0] is 5, expected the steps from start to stop"),
    ],
)
def test_arange_refusals(bench, params, sentence):
    node = bench.node("ARANGE", "F32", (5,), params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [ARANGE 'y']"


@pytest.mark.parametrize("kind", range(4))
def test_tri(bench, kind):
    a = bench.leaf("F32", 4, 4, 2)
    keeps = [lambda r, c: c >= r, lambda r, c: c > r, lambda r, c: c <= r, lambda r, c: c < r][kind]
    found = bench.run(bench.node("TRI", "F32", a.ne, a, params={0: kind}))
    x = bench.numbers(a)
    for i3, i2, r, c in np.ndindex(x.shape):
        assert found[i3, i2, r, c] == (x[i3, i2, r, c] if keeps(r, c) else 0.0)


def test_tri_refusals(bench):
    a = bench.tensor("F32", 4, 3)
    assert bench.refusal(bench.node("TRI", "F32", a.ne, a)) == (
        "GRAPH_COMPUTE: src[0].ne[1] is 3, expected src[0].ne[0] [TRI 'y']"
    )
    a = bench.tensor("F32", 4, 4)
    assert bench.refusal(bench.node("TRI", "F32", a.ne, a, params={0: 4})) == (
        "GRAPH_COMPUTE: kind is 4, expected inside [0, 4) [TRI 'y']"
    )


def test_diag(bench):
    a = bench.leaf("F32", 3, 1, 2)
    found = bench.run(bench.node("DIAG", "F32", (3, 3, 2), a))
    for i2 in range(2):
        assert np.array_equal(found[0, i2], np.diag(bench.numbers(a)[0, i2, 0]))


def test_diag_refusals(bench):
    assert bench.refusal(bench.node("DIAG", "F32", (3, 3), bench.tensor("F32", 3, 2))) == (
        "GRAPH_COMPUTE: src[0].ne[1] is 2, expected 1 [DIAG 'y']"
    )
    assert bench.refusal(bench.node("DIAG", "F32", (3, 2), bench.tensor("F32", 3))) == (
        "GRAPH_COMPUTE: ne is [3, 2, 1, 1], expected "
        "[src[0].ne[0], src[0].ne[0], src[0].ne[2], src[0].ne[3]] [DIAG 'y']"
    )


@pytest.mark.parametrize(("name", "value"), [("DIAG_MASK_INF", -math.inf), ("DIAG_MASK_ZERO", 0.0)])
def test_diag_mask(bench, name, value):
    a = bench.leaf("F32", 6, 4, 2)
    x = bench.numbers(a)
    found = bench.run(bench.node(name, "F32", a.ne, a, params={0: 1}, buffer=a.buffer))
    for i3, i2, r, c in np.ndindex(x.shape):
        assert found[i3, i2, r, c] == (value if c > 1 + r else x[i3, i2, r, c])
    assert bench.refusal(bench.node(name, "F32", a.ne, a, params={0: -1})) == (
        f"GRAPH_COMPUTE: n_past is -1, expected at least 0 [{name} 'y']"
    )


@pytest.mark.parametrize(("dim", "ne0"), [(8, 8), (7, 7), (7, 8), (1, 1)])
def test_timestep_embedding(bench, assert_close, dim, ne0):
    steps = [0.0, 1.0, 250.5, 999.0]
    a = bench.leaf("F32", 4, data=steps)
    half = dim // 2
    expected = np.zeros((4, ne0))
    for i, step in enumerate(steps):
        for j in range(half):
            angle = step * math.exp(-math.log(1000) * j / half)
            expected[i, j], expected[i, half + j] = math.cos(angle), math.sin(angle)
    node = bench.node("TIMESTEP_EMBEDDING", "F32", (ne0, 4), a, params={0: dim, 1: 1000})
    assert_close(bench.run(node), expected, 1e-9)


@pytest.mark.parametrize(
    ("params", "ne", "sentence"),
    [
        ({0: 0, 1: 10}, (8, 4), "dim is 0, expected at least 1"),
        ({0: 8, 1: 0}, (8, 4), "max_period is 0, expected at least 1"),
        ({0: 8, 1: 10}, (9, 4), "ne[0] is 9, expected dim"),
        ({0: 8, 1: 10}, (8, 3), "ne is [8, 3, 1, 1], expected [dim, src[0].ne[0], 1, 1]"),
    ],
)
def test_timestep_embedding_refusals(bench, params, ne, sentence):
    node = bench.node("TIMESTEP_EMBEDDING", "F32", ne, bench.tensor("F32", 4), params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [TIMESTEP_EMBEDDING 'y']"
