"""IM2COL, IM2COL_3D, IM2COL_BACK and COL2IM_1D."""

import numpy as np
import pytest

TWO = {0: 2, 1: 1, 2: 1, 3: 2, 4: 1, 5: 2, 6: 1}
ONE = {0: 2, 1: 0, 2: 1, 3: 0, 4: 2, 5: 0, 6: 0}


def columns(x, taps, strides, pads, dilations, places):
    """[n, places..., channels, taps...] of x [n, channels, sizes...], loops over everything."""
    n, channels = x.shape[:2]
    out = np.zeros((n, *places, channels, *taps))
    for i, c in np.ndindex(n, channels):
        for place in np.ndindex(*places):
            for tap in np.ndindex(*taps):
                at = [
                    o * s + t * d - p
                    for o, t, s, p, d in zip(place, tap, strides, pads, dilations, strict=True)
                ]
                if all(0 <= a < size for a, size in zip(at, x.shape[2:], strict=True)):
                    out[(i, *place, c, *tap)] = x[(i, c, *at)]
    return out


@pytest.mark.parametrize("type", ["F32", "F16"])
def test_im2col(bench, assert_close, type):
    kernel, data = bench.tensor("F16", 3, 2, 4, 5), bench.leaf("F32", 9, 7, 4, 2)
    expected = columns(bench.numbers(data), (2, 3), (1, 2), (2, 1), (2, 1), (9, 5))
    node = bench.node("IM2COL", type, (24, 5, 9, 2), kernel, data, params=TWO)
    assert_close(bench.run(node), expected, {"F32": 0.0, "F16": 1e-6}[type])


def test_im2col_of_one_dimension(bench, assert_close):
    kernel, data = bench.tensor("F16", 3, 4, 5), bench.leaf("F32", 9, 4, 2)
    x = bench.numbers(data)[0]
    expected = columns(x, (3,), (2,), (1,), (2,), (4,))
    node = bench.node("IM2COL", "F32", (12, 4, 2), kernel, data, params=ONE)
    assert_close(bench.run(node), expected, 0.0)


def test_im2col_with_a_window_wider_than_the_data(bench, assert_close):
    kernel, data = bench.tensor("F32", 9), bench.leaf("F32", 2, 1, 1)
    params = {0: 4, 1: 1, 2: 8, 4: 2, 5: 1, 6: 1}
    expected = columns(bench.numbers(data), (1, 9), (1, 4), (0, 8), (1, 2), (1, 1))
    node = bench.node("IM2COL", "F32", (9, 1), kernel, data, params=params)
    assert_close(bench.run(node), expected, 0.0)


IM2COL_REFUSALS = [
    ({"params": {0: 0}}, "s0 is 0, expected at least 1"),
    ({"params": {1: -1}}, "s1 is -1, expected at least 1"),
    ({"params": {4: 0}}, "d0 is 0, expected at least 1"),
    ({"params": {5: 0}}, "d1 is 0, expected at least 1"),
    ({"params": {6: 2}}, "is_2d is 2, expected 0 or 1"),
    ({"kernel": (3, 2, 3, 5)}, "src[0].ne is [3, 2, 3, 5], expected as many channels as src[1]"),
    ({"kernel": (0, 2, 4, 5)}, "src[0].ne is [0, 2, 4, 5], expected extents inside [1, 2147483648)"),
    (
        {"ne": (24, 5, 9, 1)},
        "ne is [24, 5, 9, 1], expected [IC * KW * KH, OW, OH, N], or [IC * KW, OW, N, 1] when is_2d is 0",
    ),
    ({"params": {6: 0}, "kernel": (3, 7, 5)}, "src[1].ne[3] is 2, expected 1 when is_2d is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), IM2COL_REFUSALS)
def test_im2col_refusals(bench, change, sentence):
    kernel = bench.tensor("F16", *change.get("kernel", (3, 2, 4, 5)))
    data = bench.tensor("F32", 9, 7, 4, 2)
    params = TWO | change.get("params", {})
    node = bench.node("IM2COL", "F32", change.get("ne", (24, 5, 9, 2)), kernel, data, params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [IM2COL 'y']"


THREE = {0: 2, 1: 1, 2: 1, 3: 1, 4: 0, 5: 1, 6: 1, 7: 2, 8: 1, 9: 3}


@pytest.mark.parametrize("type", ["F32", "F16"])
def test_im2col_3d(bench, assert_close, type):
    kernel, data = bench.tensor("F16", 3, 2, 2, 6), bench.leaf("F32", 5, 4, 3, 6)
    x = bench.numbers(data).reshape(2, 3, 3, 4, 5)
    expected = columns(x, (2, 2, 3), (1, 1, 2), (1, 0, 1), (1, 2, 1), (4, 2, 3))
    node = bench.node("IM2COL_3D", type, (36, 3, 2, 8), kernel, data, params=THREE)
    assert_close(bench.run(node), expected, {"F32": 0.0, "F16": 1e-6}[type])


def test_im2col_3d_takes_whole_images_and_only_extents_of_the_kernel(bench, assert_close):
    kernel, data = bench.tensor("F16", 3, 2, 2, 1), bench.leaf("F32", 5, 4, 3, 8)
    x = bench.numbers(data)[:6].reshape(2, 3, 3, 4, 5)
    expected = columns(x, (2, 2, 3), (1, 1, 2), (1, 0, 1), (1, 2, 1), (4, 2, 3))
    node = bench.node("IM2COL_3D", "F32", (36, 3, 2, 8), kernel, data, params=THREE)
    assert_close(bench.run(node), expected, 0.0)


IM2COL_3D_REFUSALS = [
    ({2: 0}, (36, 3, 2, 8), "s2 is 0, expected at least 1"),
    ({8: -2}, (36, 3, 2, 8), "d2 is -2, expected at least 1"),
    ({9: 0}, (36, 3, 2, 8), "channels is 0, expected at least 1"),
    ({9: 7}, (36, 3, 2, 8), "channels is 7, expected at most src[1].ne[3]"),
    ({}, (36, 3, 2, 7), "ne is [36, 3, 2, 7], expected [IC * KW * KH * KD, OW, OH, OD * N]"),
]


def test_im2col_3d_refuses_columns_that_match_only_when_the_product_overflows(bench):
    # 2^30 * 2^30 * 6 * 3 is 18 * 2^60, in 64 bits 2 * 2^60.
    kernel = bench.part(bench.tensor("F16", 1), 2**30, 2**30, 6, nb=(2, 0, 0, 0))
    data = bench.part(bench.tensor("F32", 1), 2**30, 2**30, 6, 3, nb=(0, 0, 0, 0))
    params = dict.fromkeys((0, 1, 2, 6, 7, 8), 1) | {9: 3}
    node = bench.node("IM2COL_3D", "F32", (1,), kernel, data, params=params)
    node.ne = (2**61, 1, 1, 1)
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: ne is [2305843009213693952, 1, 1, 1], expected [IC * KW * KH * KD, OW, OH, OD * N] "
        "[IM2COL_3D 'y']"
    )


@pytest.mark.parametrize(("change", "ne", "sentence"), IM2COL_3D_REFUSALS)
def test_im2col_3d_refusals(bench, change, ne, sentence):
    kernel, data = bench.tensor("F16", 3, 2, 2, 6), bench.tensor("F32", 5, 4, 3, 6)
    node = bench.node("IM2COL_3D", "F32", ne, kernel, data, params=THREE | change)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [IM2COL_3D 'y']"


def gradient_of_columns(g, sizes, taps, strides, pads, dilations):
    """[n, channels, sizes...]: every column element added back where it came from."""
    n, channels = g.shape[0], g.shape[1 + len(sizes)]
    out = np.zeros((n, channels, *sizes))
    for i, c in np.ndindex(n, channels):
        for place in np.ndindex(*g.shape[1 : 1 + len(sizes)]):
            for tap in np.ndindex(*taps):
                at = tuple(
                    o * s + t * d - p
                    for o, t, s, p, d in zip(place, tap, strides, pads, dilations, strict=True)
                )
                if all(0 <= a < size for a, size in zip(at, sizes, strict=True)):
                    out[(i, c, *at)] += g[(i, *place, c, *tap)]
    return out


def test_im2col_back(bench, assert_close):
    gradient, kernel = bench.leaf("F32", 24, 5, 9, 2), bench.tensor("F16", 3, 2, 4, 5)
    g = bench.numbers(gradient).reshape(2, 9, 5, 4, 2, 3)
    expected = gradient_of_columns(g, (7, 9), (2, 3), (1, 2), (2, 1), (2, 1))
    node = bench.node("IM2COL_BACK", "F32", (9, 7, 4, 2), gradient, kernel, params=TWO)
    assert_close(bench.run(node), expected)


def test_im2col_back_of_one_dimension(bench, assert_close):
    gradient, kernel = bench.leaf("F32", 12, 4, 2), bench.tensor("F32", 3, 4, 5)
    g = bench.numbers(gradient).reshape(2, 4, 4, 3)
    expected = gradient_of_columns(g, (9,), (3,), (2,), (1,), (2,))
    node = bench.node("IM2COL_BACK", "F32", (9, 4, 2), gradient, kernel, params=ONE)
    assert_close(bench.run(node), expected)


IM2COL_BACK_REFUSALS = [
    ({1: 0}, (24, 5, 9, 2), (9, 7, 4, 2), "s1 is 0, expected at least 1"),
    (
        {}, (24, 5, 9, 1), (9, 7, 4, 2),
        "src[0].ne is [24, 5, 9, 1], expected [IC * KW * KH, OW, OH, N], or [IC * KW, OW, N, 1] when is_2d is 0",
    ),
    (
        {}, (24, 5, 9, 2), (9, 7, 3, 2),
        "src[0].ne is [24, 5, 9, 2], expected [IC * KW * KH, OW, OH, N], or [IC * KW, OW, N, 1] when is_2d is 0",
    ),
    ({6: 0}, (24, 5, 9, 1), (9, 7, 4, 2), "ne[3] is 2, expected 1 when is_2d is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "gradient", "ne", "sentence"), IM2COL_BACK_REFUSALS)
def test_im2col_back_refusals(bench, change, gradient, ne, sentence):
    sources = bench.tensor("F32", *gradient), bench.tensor("F16", 3, 2, 4, 5)
    node = bench.node("IM2COL_BACK", "F32", ne, *sources, params=TWO | change)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [IM2COL_BACK 'y']"


@pytest.mark.parametrize("type", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("stride", "crop"), [(1, 0), (2, 1), (5, 2)])
def test_col2im_1d(bench, assert_close, type, stride, crop):
    n_columns, channels, k = 5, 3, 4
    a = bench.leaf(type, k * channels, n_columns)
    x = bench.numbers(a).reshape(n_columns, channels, k)
    length = (n_columns - 1) * stride + k
    expected = np.zeros((channels, length))
    for t, c, j in np.ndindex(n_columns, channels, k):
        expected[c, t * stride + j] += x[t, c, j]
    expected = expected[:, crop : length - crop]
    params = {0: stride, 1: channels, 2: crop}
    node = bench.node("COL2IM_1D", type, (length - 2 * crop, channels), a, params=params)
    assert_close(bench.run(node), expected, {"F32": 1e-13, "F16": 1e-6, "BF16": 1e-5}[type])


COL2IM_REFUSALS = [
    ({0: 0}, (10, 3), "stride is 0, expected at least 1"),
    ({1: 0}, (10, 3), "channels is 0, expected at least 1"),
    ({1: 5}, (10, 3), "channels is 5, expected a divisor of src[0].ne[0]"),
    ({2: -1}, (10, 3), "crop is -1, expected at least 0"),
    (
        {}, (9, 3),
        "ne is [9, 3, 1, 1], expected [(T - 1) * stride + K - 2 * crop, channels, 1, 1]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "ne", "sentence"), COL2IM_REFUSALS)
def test_col2im_1d_refusals(bench, change, ne, sentence):
    a = bench.tensor("F32", 12, 4)
    node = bench.node("COL2IM_1D", "F32", ne, a, params={0: 2, 1: 3, 2: 0} | change)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [COL2IM_1D 'y']"


def test_col2im_1d_takes_a_matrix(bench):
    node = bench.node(
        "COL2IM_1D", "F32", (10, 3), bench.tensor("F32", 12, 4, 2), params={0: 2, 1: 3}
    )
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[0].ne is [12, 4, 2, 1], expected a matrix [COL2IM_1D 'y']"
    )
