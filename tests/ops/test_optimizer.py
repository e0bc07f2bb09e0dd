"""OPT_STEP_ADAMW and OPT_STEP_SGD."""

import math

import numpy as np
import pytest

ADAMW = [0.01, 0.9, 0.99, 1e-3, 0.1, 5.0, 20.0]


def test_adamw(bench, assert_close):
    w, g, m = (bench.leaf("F32", 5, 3) for _ in range(3))
    v = bench.leaf("F32", 5, 3, data=bench.rng.uniform(0.1, 1, 15))
    params = bench.leaf("F32", 7, data=ADAMW)
    alpha, beta1, beta2, eps, decay, c1, c2 = bench.numbers(params).ravel()
    before = [bench.numbers(t).ravel() for t in (w, g, m, v)]
    expected = np.zeros((3, 15))
    for i, (wi, gi, mi, vi) in enumerate(zip(*before, strict=True)):
        mi, vi = mi * beta1 + gi * (1 - beta1), vi * beta2 + gi * gi * (1 - beta2)
        wi = wi * (1 - alpha * decay) - alpha * mi * c1 / (math.sqrt(vi * c2) + eps)
        expected[:, i] = wi, mi, vi
    node = bench.node("OPT_STEP_ADAMW", "F32", w.ne, w, g, m, v, params, buffer=w.buffer)
    bench.run(node)
    for tensor, want in zip((w, m, v), expected, strict=True):
        assert_close(bench.numbers(tensor).ravel(), want, 1e-11)
    assert np.array_equal(bench.numbers(g).ravel(), before[1])


def test_sgd(bench, assert_close):
    w, g = bench.leaf("F32", 5, 3), bench.leaf("F32", 5, 3)
    params = bench.leaf("F32", 2, data=[0.1, 0.5])
    expected = bench.numbers(w) * 0.95 - 0.1 * bench.numbers(g)
    node = bench.node("OPT_STEP_SGD", "F32", w.ne, w, g, params, buffer=w.buffer)
    bench.run(node)
    assert_close(bench.numbers(w), expected, 1e-12)


@pytest.mark.parametrize(
    ("name", "shapes", "sentence"),
    [
        ("OPT_STEP_ADAMW", [(4, 3)] * 4 + [(7,)], "ne is [4, 2, 1, 1], expected src[0].ne"),
        ("OPT_STEP_ADAMW", [(4, 2), (4, 3), (4, 2), (4, 2), (7,)], "src[1].ne is [4, 3, 1, 1], expected src[0].ne"),
        ("OPT_STEP_ADAMW", [(4, 2), (4, 2), (4, 2), (3, 2), (7,)], "src[3].ne is [3, 2, 1, 1], expected src[0].ne"),
        ("OPT_STEP_ADAMW", [(4, 2)] * 4 + [(6,)], "src[4].ne is [6, 1, 1, 1], expected 7 elements"),
        ("OPT_STEP_SGD", [(4, 2), (4, 1), (2,)], "src[1].ne is [4, 1, 1, 1], expected src[0].ne"),
        ("OPT_STEP_SGD", [(4, 2), (4, 2), (3,)], "src[2].ne is [3, 1, 1, 1], expected 2 elements"),
    ],
)  # fmt: skip
def test_refusals(bench, name, shapes, sentence):
    node = bench.node(name, "F32", (4, 2), *(bench.tensor("F32", *ne) for ne in shapes))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [{name} 'y']"


def test_adamw_refuses_moments_that_overlap_themselves(bench):
    sources = [bench.tensor("F32", 4, 2) for _ in range(4)] + [bench.tensor("F32", 7)]
    sources[2] = bench.part(sources[2], 4, 2, nb=(4, 0, 16, 16))
    node = bench.node("OPT_STEP_ADAMW", "F32", (4, 2), *sources)
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[2].nb is [4, 0, 16, 16], expected strides without gaps "
        "[OPT_STEP_ADAMW 'y']"
    )
