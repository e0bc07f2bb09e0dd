"""SSM_CONV and SSM_SCAN."""

import math

import numpy as np
import pytest

from ggmlrpc_core.errors import OutOfBounds


def test_ssm_conv(bench, assert_close):
    x, weights = bench.leaf("F32", 8, 5, 2), bench.leaf("F32", 4, 5)
    a, w = bench.numbers(x)[0], bench.numbers(weights)[0, 0]
    expected = np.zeros((2, 5, 5))
    for s, t, i, j in np.ndindex(2, 5, 5, 4):
        expected[s, t, i] += a[s, i, t + j] * w[i, j]
    assert_close(bench.run(bench.node("SSM_CONV", "F32", (5, 5, 2), x, weights)), expected)


@pytest.mark.parametrize(
    ("x", "weights", "ne", "sentence"),
    [
        ((8, 5, 2), (4, 6), (5, 5, 2), "src[1].ne[1] is 6, expected src[0].ne[1]"),
        ((8, 5, 2), (4, 5, 2), (5, 5, 2), "src[1].ne is [4, 5, 2, 1], expected a matrix"),
        ((8, 5, 2, 2), (4, 5), (5, 5, 2), "src[0].ne[3] is 2, expected 1"),
        (
            (8, 5, 2), (4, 5), (5, 6, 2),
            "ne is [5, 6, 2, 1], expected [src[0].ne[1], src[0].ne[0] - src[1].ne[0] + 1, src[0].ne[2], 1]",
        ),
    ],
)  # fmt: skip
def test_ssm_conv_refusals(bench, x, weights, ne, sentence):
    node = bench.node("SSM_CONV", "F32", ne, bench.tensor("F32", *x), bench.tensor("F32", *weights))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [SSM_CONV 'y']"


SHAPES = {
    "state": (5, 2, 4, 3), "x": (2, 4, 3, 2), "dt": (4, 3, 2), "a": (1, 4), "b": (5, 2, 3, 2),
    "c": (5, 2, 3, 2), "ids": (2,),
}  # fmt: skip


def scan(bench, slots, *, a_rows=1, slots_param=None, **fields):
    """A node over 2 sequences of 3 tokens, 4 heads of 2, 2 groups."""
    sources = {k: bench.leaf("F32", *ne) for k, ne in SHAPES.items() if k not in ("a", "ids", "dt")}
    sources["dt"] = bench.leaf("F32", *SHAPES["dt"], data=bench.rng.uniform(-4, 30, 24))
    sources["a"] = bench.leaf("F32", a_rows, 4, data=bench.rng.uniform(-2, -0.1, 4 * a_rows))
    sources["ids"] = bench.leaf("I32", 2, data=[2, 0])
    ordered = [sources[k] for k in SHAPES]
    params = {0: slots if slots_param is None else slots_param}
    node = bench.node("SSM_SCAN", "F32", (48 + slots * 80,), *ordered, params=params, **fields)
    return node, {k: bench.numbers(t) for k, t in sources.items()}


def expected_scan(v):
    """(y [2, 3, 4, 2], states after each token [3][2, 4, 2, 5])."""
    y, states = np.zeros((2, 3, 4, 2)), []
    s = np.array([v["state"][int(i)] for i in v["ids"].ravel()])
    for t in range(3):
        new = np.empty_like(s)
        for q, h, i, n in np.ndindex(2, 4, 2, 5):
            d = math.log1p(math.exp(v["dt"][0, q, t, h]))
            decay = v["a"][0, 0, h, n % v["a"].shape[3]]
            g = h // 2
            new[q, h, i, n] = (
                s[q, h, i, n] * math.exp(d * decay) + v["b"][q, t, g, n] * v["x"][q, t, h, i] * d
            )
            y[q, t, h, i] += new[q, h, i, n] * v["c"][q, t, g, n]
        s = new
        states.append(new)
    return y, states


@pytest.mark.parametrize(
    ("slots", "a_rows", "slots_param"), [(1, 1, 1), (1, 1, 0), (1, 5, 1), (2, 1, 2), (3, 1, 3)]
)
def test_ssm_scan(bench, assert_close, slots, a_rows, slots_param):
    node, values = scan(bench, slots, a_rows=a_rows, slots_param=slots_param)
    y, states = expected_scan(values)
    found = bench.run(node).ravel()
    assert_close(found[:48], y, 1e-11)
    for slot in range(slots):
        assert_close(found[48 + slot * 80 : 48 + (slot + 1) * 80], states[2 - slot], 1e-11)


def test_ssm_scan_leaves_slots_alone_that_are_older_than_the_first_token(bench, assert_close):
    node, values = scan(bench, 5)
    node.buffer.view(np.float32)[:] = 7.0
    y, states = expected_scan(values)
    found = bench.run(node).ravel()
    assert_close(found[:48], y, 1e-11)
    assert_close(found[48 : 48 + 240], np.stack(states[::-1]), 1e-11)
    assert (found[48 + 240 :] == 7.0).all()


@pytest.mark.parametrize("wrong", [-1, 3])
def test_ssm_scan_refuses_a_state_outside(bench, wrong):
    node, _ = scan(bench, 1)
    node.src[6].buffer.view(np.int32)[1] = wrong
    with pytest.raises(OutOfBounds) as caught:
        bench.run(node)
    assert str(caught.value) == (
        f"SSM_SCAN: an id in src[6] is {wrong}, expected inside [0, 3) [node 'y']"
    )


SCAN_REFUSALS = [
    ({"state": (5, 3, 4, 3)}, {}, "src[0].ne[1] is 3, expected src[1].ne[0]"),
    ({"state": (5, 2, 3, 3)}, {}, "src[0].ne[2] is 3, expected src[1].ne[1]"),
    (
        {"dt": (4, 3, 1)}, {},
        "src[2].ne is [4, 3, 1, 1], expected [src[1].ne[1], src[1].ne[2], src[1].ne[3], 1]",
    ),
    (
        {"a": (2, 4)}, {},
        "src[3].ne is [2, 4, 1, 1], expected [1 or src[0].ne[0], src[1].ne[1], 1, 1]",
    ),
    (
        {"b": (5, 3, 3, 2)}, {},
        "src[4].ne is [5, 3, 3, 2], expected [src[0].ne[0], a divisor of src[1].ne[1], src[1].ne[2], src[1].ne[3]]",
    ),
    ({"c": (5, 1, 3, 2)}, {}, "src[5].ne is [5, 1, 3, 2], expected src[4].ne"),
    ({"ids": (3,)}, {}, "src[6].ne is [3, 1, 1, 1], expected [src[1].ne[3], 1, 1, 1]"),
    ({}, {0: -1}, "slots is -1, expected at least 0 (0 counts as 1)"),
    ({"a": (5, 4)}, {0: 2}, "slots is 2, expected 1 when src[3].ne[0] is not 1"),
    (
        {}, {0: 2},
        "ne is [128, 1, 1, 1], expected [elements of src[1] + slots * d_state * dim * heads * sequences, 1, 1, 1]",
    ),
    (
        {}, {0: 2**31 - 1},
        "ne is [128, 1, 1, 1], expected [elements of src[1] + slots * d_state * dim * heads * sequences, 1, 1, 1]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "params", "sentence"), SCAN_REFUSALS)
def test_ssm_scan_refusals(bench, change, params, sentence):
    shapes = SHAPES | change
    sources = [bench.tensor("I32" if k == "ids" else "F32", *ne) for k, ne in shapes.items()]
    node = bench.node("SSM_SCAN", "F32", (128,), *sources, params={0: 1} | params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [SSM_SCAN 'y']"
