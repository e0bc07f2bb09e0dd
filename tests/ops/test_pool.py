"""POOL_1D, POOL_2D and POOL_2D_BACK."""

import itertools

import numpy as np
import pytest

LOWEST = float(np.finfo(np.float32).min)


def covered(place, size, k, stride, pad):
    """The elements under a window."""
    start = place * stride - pad
    return [x for x in range(start, start + k) if 0 <= x < size]


@pytest.mark.parametrize("type", ["F32", "F16"])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(
    ("k", "stride", "pad", "n_out"), [(3, 2, 1, 4), (2, 3, 3, 4), (1, 1, 0, 7)]
)
def test_pool_1d(bench, assert_close, type, kind, k, stride, pad, n_out):
    a = bench.leaf(type, 7, 3, 2, 2)
    x = bench.numbers(a)
    expected = np.empty((2, 2, 3, n_out))
    for *row, o in np.ndindex(*expected.shape):
        values = [x[(*row, j)] for j in covered(o, 7, k, stride, pad)]
        if kind == 0:
            expected[(*row, o)] = max([LOWEST, *values])
        else:
            expected[(*row, o)] = sum(values) / max(len(values), 1)
    params = {0: kind, 1: k, 2: stride, 3: pad}
    node = bench.node("POOL_1D", "F32", (n_out, 3, 2, 2), a, params=params)
    assert_close(bench.run(node), expected, 1e-12)


WINDOWS = [
    ((3, 2), (2, 1), (1, 0), (3, 4)),
    ((2, 2), (3, 2), (2, 1), (3, 3)),
    ((9, 1), (1, 1), (2, 0), (2, 5)),
]


def params_of(kind, k, s, p):
    return dict(enumerate((kind, *k, *s, *p)))


@pytest.mark.parametrize("type", ["F32", "F16"])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(("k", "s", "p", "places"), WINDOWS)
def test_pool_2d(bench, assert_close, type, kind, k, s, p, places):
    a = bench.leaf(type, 6, 5, 2, 2)
    x = bench.numbers(a)
    expected = np.empty((2, 2, places[1], places[0]))
    for n, c, oy, ox in np.ndindex(*expected.shape):
        rows, cols = covered(oy, 5, k[1], s[1], p[1]), covered(ox, 6, k[0], s[0], p[0])
        values = [x[n, c, i, j] for i, j in itertools.product(rows, cols)]
        one = max([LOWEST, *values]) if kind == 0 else sum(values) / (k[0] * k[1])
        expected[n, c, oy, ox] = one
    node = bench.node("POOL_2D", "F32", (*places, 2, 2), a, params=params_of(kind, k, s, p))
    assert_close(bench.run(node), expected, 1e-12)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_window_far_wider_than_the_data(bench, assert_close, kind):
    k = 2**31 - 1
    a = bench.leaf("F32", 4, 1)
    x = bench.numbers(a).ravel()
    params = params_of(kind, (k, 1), (1, 1), (2**30 - 1, 0))
    # In f32 the extent is (4 + 2^31 - 2^31) / 1 + 1.
    node = bench.node("POOL_2D", "F32", (1, 1), a, params=params)
    assert_close(bench.run(node), [x.max() if kind == 0 else x.sum() / k], 1e-12)


@pytest.mark.parametrize("n_out", [4, 5])
def test_the_extent_may_come_from_a_padding_that_had_a_fraction(bench, n_out):
    # (5 + 2 * 0 - 2) / 1 + 1, or with a padding of 0.5 that is 0 in the parameters.
    params = params_of(1, (2, 1), (1, 1), (0, 0))
    bench.check(bench.node("POOL_2D", "F32", (n_out, 1), bench.tensor("F32", 5, 1), params=params))


def first_largest(x, cells):
    """The first of the cells (row by row) with the largest element."""
    return max(cells, key=lambda cell: (x[cell], -cells.index(cell)))


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(("k", "s", "p", "places"), WINDOWS)
def test_pool_2d_back(bench, assert_close, kind, k, s, p, places):
    gradient = bench.leaf("F32", *places, 2, 2)
    a = bench.leaf("F32", 6, 5, 2, 2, data=bench.rng.integers(0, 4, 120))  # with equal elements
    x, g = bench.numbers(a), bench.numbers(gradient)
    expected = np.zeros(x.shape)
    for n, c, oy, ox in np.ndindex(*g.shape):
        rows, cols = covered(oy, 5, k[1], s[1], p[1]), covered(ox, 6, k[0], s[0], p[0])
        cells = list(itertools.product(rows, cols))
        if kind == 1:
            for cell in cells:
                expected[(n, c, *cell)] += g[n, c, oy, ox] / (k[0] * k[1])
        elif cells:
            expected[(n, c, *first_largest(x[n, c], cells))] += g[n, c, oy, ox]
    node = bench.node("POOL_2D_BACK", "F32", a.ne, gradient, a, params=params_of(kind, k, s, p))
    assert_close(bench.run(node), expected, 1e-12)


REFUSALS = [
    ("POOL_1D", {0: 2}, "kind is 2, expected 0 (maximum) or 1 (average)"),
    ("POOL_1D", {1: 0}, "k is 0, expected at least 1"),
    ("POOL_1D", {2: 0}, "stride is 0, expected at least 1"),
    (
        "POOL_1D", {3: 1},
        "ne is [3, 5, 1, 1], expected [(src[0].ne[0] + 2 * pad - k) / stride + 1, src[0].ne[1], src[0].ne[2], "
        "src[0].ne[3]]",
    ),
    ("POOL_2D", {0: -1}, "kind is -1, expected 0 (maximum) or 1 (average)"),
    ("POOL_2D", {2: 0}, "k1 is 0, expected at least 1"),
    ("POOL_2D", {3: 0}, "s0 is 0, expected at least 1"),
    ("POOL_2D", {4: -5}, "s1 is -5, expected at least 1"),
    (
        "POOL_2D", {5: 3},
        "ne is [3, 5, 1, 1], expected (src[0].ne[d] + 2 * pad - k) / stride + 1 for d of 0 and 1, "
        "then src[0].ne[2] and ne[3]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "sentence"), REFUSALS)
def test_refusals(bench, name, change, sentence):
    params = {0: 0, 1: 2, 2: 2, 3: 0} if name == "POOL_1D" else params_of(0, (2, 1), (2, 1), (0, 0))
    node = bench.node(name, "F32", (3, 5), bench.tensor("F32", 6, 5), params=params | change)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [{name} 'y']"


def test_pool_2d_back_refusals(bench):
    params = params_of(0, (2, 1), (2, 1), (0, 0))
    a = bench.tensor("F32", 6, 5)
    node = bench.node("POOL_2D_BACK", "F32", (6, 5), bench.tensor("F32", 5, 5), a, params=params)
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[0].ne is [5, 5, 1, 1], expected (src[1].ne[d] + 2 * pad - k) / stride + 1 "
        "for d of 0 and 1, then src[1].ne[2] and ne[3] [POOL_2D_BACK 'y']"
    )  # fmt: skip
    node = bench.node("POOL_2D_BACK", "F32", (6, 4), bench.tensor("F32", 3, 5), a, params=params)
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: ne is [6, 4, 1, 1], expected src[1].ne [POOL_2D_BACK 'y']"
    )
