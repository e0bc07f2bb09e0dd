"""LIGHTNING_INDEXER, DSV4_HC_COMB, DSV4_HC_PRE and DSV4_HC_POST."""

import math

import numpy as np
import pytest

NMSE = 1e-11


@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("mask_streams", [1, 2])
def test_lightning_indexer(bench, assert_close, type, mask_streams):
    q, k = bench.leaf("F32", 32, 2, 3, 4), bench.leaf(type, 32, 1, 5, 4)
    weights, mask = bench.leaf("F32", 2, 3, 1, 4), bench.leaf("F16", 5, 3, 1, mask_streams)
    qs, ks, ws, ms = (bench.numbers(t) for t in (q, k, weights, mask))
    ms[0, 0, 1, 2] = -math.inf
    mask.buffer.view(np.float16)[1 * 5 + 2] = -np.inf
    expected = np.zeros((4, 1, 3, 5))
    for s, t, j in np.ndindex(4, 3, 5):
        score = sum(max(0.0, qs[s, t, h] @ ks[s, j, 0]) * ws[s, 0, t, h] for h in range(2))
        expected[s, 0, t, j] = score + ms[s % mask_streams, 0, t, j]
    node = bench.node("LIGHTNING_INDEXER", "F32", (5, 3, 1, 4), q, k, weights, mask)
    assert_close(bench.run(node), expected, NMSE)


INDEXER = [(4, 2, 3, 2), (4, 1, 5, 2), (2, 3, 1, 2), (5, 3, 1, 1)]
INDEXER_REFUSALS = [
    (1, (4, 2, 5, 2), "src[1].ne is [4, 2, 5, 2], expected [src[0].ne[0], 1, any, src[0].ne[3]]"),
    (
        2, (2, 3, 1, 1),
        "src[2].ne is [2, 3, 1, 1], expected [src[0].ne[1], src[0].ne[2], 1, src[0].ne[3]]",
    ),
    (
        3, (5, 3, 1, 3),
        "src[3].ne is [5, 3, 1, 3], expected [src[1].ne[2], src[0].ne[2], 1, a divisor of src[0].ne[3]]",
    ),
    (None, None, "ne is [5, 3, 2, 2], expected [src[1].ne[2], src[0].ne[2], 1, src[0].ne[3]]"),
]  # fmt: skip


@pytest.mark.parametrize(("slot", "ne", "sentence"), INDEXER_REFUSALS)
def test_lightning_indexer_refusals(bench, slot, ne, sentence):
    shapes = [ne if i == slot else shape for i, shape in enumerate(INDEXER)]
    types = ["F32", "F16", "F32", "F16"]
    sources = [bench.tensor(t, *s) for t, s in zip(types, shapes, strict=True)]
    result = (5, 3, 2, 2) if slot is None else (5, 3, 1, 2)
    node = bench.node("LIGHTNING_INDEXER", "F32", result, *sources)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [LIGHTNING_INDEXER 'y']"


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_dsv4_hc_comb(bench, assert_close, iterations):
    mixes, scale, base = bench.leaf("F32", 24, 3), bench.leaf("F32", 5), bench.leaf("F32", 24)
    m, s, b = (bench.numbers(t)[0, 0] for t in (mixes, scale, base))
    eps = float(np.float32(1e-2))
    expected = np.zeros((3, 4, 4))  # [token, from, to]
    for t in range(3):
        v = [
            [m[t, 8 + 4 * i + j] * s[0, 2] + b[0, 8 + 4 * i + j] for j in range(4)]
            for i in range(4)
        ]
        comb = np.array([[math.exp(x) / sum(map(math.exp, row)) + eps for x in row] for row in v])
        for turn in range(iterations):
            if turn:
                comb = np.array([[x / (sum(row) + eps) for x in row] for row in comb])
            comb = np.array([[x / (sum(column) + eps) for x in column] for column in comb.T]).T
        expected[t] = comb
    params = {0: 1e-2, 1: iterations}
    node = bench.node("DSV4_HC_COMB", "F32", (4, 4, 3), mixes, scale, base, params=params)
    assert_close(bench.run(node), expected, NMSE)


COMB_REFUSALS = [
    ((23, 3), (3,), (24,), {}, "src[0].ne is [23, 3, 1, 1], expected [24, any, 1, 1]"),
    ((24, 3), (2,), (24,), {}, "src[1].ne is [2, 1, 1, 1], expected [at least 3, 1, 1, 1]"),
    ((24, 3), (3,), (24, 3), {}, "src[2].ne is [24, 3, 1, 1], expected [24, 1, 1, 1]"),
    ((24, 3), (3,), (24,), {1: 0}, "iterations is 0, expected inside [1, 65536]"),
    ((24, 3), (3,), (24,), {1: 2**31 - 1}, "iterations is 2147483647, expected inside [1, 65536]"),
    ((24, 2), (3,), (24,), {}, "ne is [4, 4, 3, 1], expected [4, 4, src[0].ne[1], 1]"),
]


@pytest.mark.parametrize(("mixes", "scale", "base", "params", "sentence"), COMB_REFUSALS)
def test_dsv4_hc_comb_refusals(bench, mixes, scale, base, params, sentence):
    sources = [bench.tensor("F32", *ne) for ne in (mixes, scale, base)]
    node = bench.node("DSV4_HC_COMB", "F32", (4, 4, 3), *sources, params={1: 2} | params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [DSV4_HC_COMB 'y']"


@pytest.mark.parametrize("gated", [0, 1])
def test_dsv4_hc_pre(bench, assert_close, gated):
    x = bench.leaf("F32", 5, 3, 4)
    weights = bench.leaf("F32", 5, 3, 4) if gated else bench.leaf("F32", 3, 4)
    a, w = bench.numbers(x)[0], bench.numbers(weights)[0]
    expected = np.zeros((4, 5))
    for t, i, h in np.ndindex(4, 5, 3):
        factor = 1 / (1 + math.exp(-w[t, h, i])) if gated else w[0, t, h]
        expected[t, i] += 0.5 * a[t, h, i] * factor
    node = bench.node("DSV4_HC_PRE", "F32", (5, 4), x, weights, params={0: 0.5, 1: gated})
    assert_close(bench.run(node), expected, NMSE)


@pytest.mark.parametrize(
    ("x", "weights", "gated", "ne", "sentence"),
    [
        ((5, 3, 4), (5, 3, 4), 0, (5, 4),
         "src[1].ne is [5, 3, 4, 1], expected [src[0].ne[1], src[0].ne[2], 1, 1] when gated is 0"),
        ((5, 3, 4), (3, 4), 1, (5, 4), "src[1].ne is [3, 4, 1, 1], expected src[0].ne when gated is 1"),
        ((5, 3, 4, 2), (3, 4), 0, (5, 4), "src[0].ne[3] is 2, expected 1"),
        ((5, 3, 4), (3, 4), 0, (5, 3),
         "ne is [5, 3, 1, 1], expected [src[0].ne[0], src[0].ne[2], 1, 1]"),
    ],
)  # fmt: skip
def test_dsv4_hc_pre_refusals(bench, x, weights, gated, ne, sentence):
    sources = bench.tensor("F32", *x), bench.tensor("F32", *weights)
    node = bench.node("DSV4_HC_PRE", "F32", ne, *sources, params={0: 1.0, 1: gated})
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [DSV4_HC_PRE 'y']"


@pytest.mark.parametrize("mixed", [False, True])
def test_dsv4_hc_post(bench, assert_close, mixed):
    x, residual, post = (bench.leaf("F32", *ne) for ne in ((5, 4), (5, 3, 4), (3, 4)))
    comb = bench.leaf("F32", 3, 3, 4) if mixed else None
    a, r, p = (bench.numbers(t)[0] for t in (x, residual, post))
    expected = np.zeros((4, 3, 5))
    for t, to, i in np.ndindex(4, 3, 5):
        expected[t, to, i] = a[0, t, i] * p[0, t, to]
        if comb is None:
            expected[t, to, i] += r[t, to, i]
        else:
            mix = bench.numbers(comb)[0, t]
            expected[t, to, i] += sum(r[t, j, i] * mix[j, to] for j in range(3))
    node = bench.node("DSV4_HC_POST", "F32", (5, 3, 4), x, residual, post, comb)
    assert_close(bench.run(node), expected, NMSE)


POST = [(5, 4), (5, 3, 4), (3, 4), (3, 3, 4)]
POST_REFUSALS = [
    (0, (5, 4, 2), "src[0].ne is [5, 4, 2, 1], expected a matrix"),
    (1, (5, 3, 3), "src[1].ne is [5, 3, 3, 1], expected [src[0].ne[0], any, src[0].ne[1], 1]"),
    (2, (2, 4), "src[2].ne is [2, 4, 1, 1], expected [src[1].ne[1], src[0].ne[1], 1, 1]"),
    (3, (2, 3, 4), "src[3].ne[0] is 2, expected src[1].ne[1]"),
    (3, (3, 2, 4), "src[3].ne[1] is 2, expected src[1].ne[1]"),
    (3, (3, 3, 5), "src[3].ne[2] is 5, expected src[0].ne[1]"),
    (3, (3, 3, 4, 2), "src[3].ne[3] is 2, expected 1"),
    (None, None, "ne is [5, 3, 3, 1], expected src[1].ne"),
]


@pytest.mark.parametrize(("slot", "ne", "sentence"), POST_REFUSALS)
def test_dsv4_hc_post_refusals(bench, slot, ne, sentence):
    sources = [bench.tensor("F32", *(ne if i == slot else s)) for i, s in enumerate(POST)]
    result = (5, 3, 3) if slot is None else (5, 3, 4)
    node = bench.node("DSV4_HC_POST", "F32", result, *sources)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [DSV4_HC_POST 'y']"
