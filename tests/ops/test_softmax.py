"""SOFT_MAX and the slopes of heads."""

import math

import numpy as np
import pytest

from ggmlrpc_core.ops.softmax import alibi_slopes


@pytest.mark.parametrize("n_head", [1, 2, 3, 8, 12])
def test_slopes(n_head):
    power = 2 ** math.floor(math.log2(n_head))
    expected = [
        2 ** (-8.0 * (h + 1) / power) if h < power else 2 ** (-4.0 * (2 * (h - power) + 1) / power)
        for h in range(n_head)
    ]
    assert np.allclose(alibi_slopes(n_head, 8.0), expected, rtol=1e-6)
    assert alibi_slopes(n_head, 0.0).tolist() == [1.0] * n_head


def expected_soft_max(x, mask, sinks, scale, max_bias):
    """By definition, row for row."""
    slopes = alibi_slopes(x.shape[1], max_bias).astype(np.float64)
    y = np.empty(x.shape)
    for i3, h, i1 in np.ndindex(x.shape[:3]):
        row = x[i3, h, i1] * scale
        if mask is not None:
            row = row + slopes[h] * mask[i3 % mask.shape[0], h % mask.shape[1], i1]
        top = max(row.max(), -math.inf if sinks is None else sinks[h])
        e = np.exp(row - top)
        y[i3, h, i1] = e / (e.sum() + (0.0 if sinks is None else math.exp(sinks[h] - top)))
    return y


@pytest.mark.parametrize("mask_type", [None, "F16", "F32"])
@pytest.mark.parametrize("max_bias", [0.0, 8.0])
@pytest.mark.parametrize("with_sinks", [False, True])
def test_soft_max(bench, assert_close, mask_type, max_bias, with_sinks):
    max_bias = max_bias if mask_type else 0.0
    a = bench.leaf("F32", 10, 4, 6, 4)
    mask = bench.leaf(mask_type, 10, 5, 3, 2) if mask_type else None
    if mask is not None:
        m = bench.numbers(mask)
        m[..., 6:] = -math.inf
        mask = bench.leaf(mask_type, 10, 5, 3, 2, data=m)
    sinks = bench.leaf("F32", 6) if with_sinks else None
    node = bench.node("SOFT_MAX", "F32", a.ne, a, mask, sinks, params={0: 0.5, 1: max_bias})
    expected = expected_soft_max(
        bench.numbers(a),
        None if mask is None else bench.numbers(mask),
        None if sinks is None else bench.numbers(sinks).ravel(),
        0.5,
        max_bias,
    )
    assert_close(bench.run(node), expected, 1e-11)


def test_soft_max_in_place(bench, assert_close):
    a = bench.leaf("F32", 10, 4)
    expected = expected_soft_max(bench.numbers(a), None, None, 1.0, 0.0)
    node = bench.node("SOFT_MAX", "F32", a.ne, a, params={0: 1.0}, buffer=a.buffer)
    assert_close(bench.run(node), expected, 1e-11)


REFUSALS = [
    ({"mask": (9, 5)}, {}, "src[1].ne[0] is 9, expected src[0].ne[0]"),
    ({"mask": (10, 3)}, {}, "src[1].ne[1] is 3, expected at least src[0].ne[1]"),
    ({"mask": (10, 4, 4)}, {}, "src[1].ne[2] is 4, expected a divisor of src[0].ne[2]"),
    ({"mask": (10, 4, 1, 3)}, {}, "src[1].ne[3] is 3, expected a divisor of src[0].ne[3]"),
    ({}, {1: 8.0}, "max_bias is 8.0, expected 0 without a mask"),
    ({"sinks": (5,)}, {}, "src[2].ne is [5, 1, 1, 1], expected [src[0].ne[2], 1, 1, 1]"),
]


@pytest.mark.parametrize(("shapes", "params", "sentence"), REFUSALS)
def test_refusals(bench, shapes, params, sentence):
    a = bench.leaf("F32", 10, 4, 6, 2)
    mask = bench.leaf("F32", *shapes["mask"]) if "mask" in shapes else None
    sinks = bench.leaf("F32", *shapes["sinks"]) if "sinks" in shapes else None
    node = bench.node("SOFT_MAX", "F32", a.ne, a, mask, sinks, params={0: 1.0} | params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [SOFT_MAX 'y']"


def test_gaps_are_refused(bench):
    a = bench.transposed(bench.leaf("F32", 6, 3, 4), 0, 2, 1, 3)
    node = bench.node("SOFT_MAX", "F32", a.ne, a, params={0: 1.0})
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[0].nb is [4, 72, 24, 288], expected strides without gaps [SOFT_MAX 'y']"
    )
