"""CONV_2D, CONV_2D_DW, CONV_3D, CONV_TRANSPOSE_1D and CONV_TRANSPOSE_2D."""

import numpy as np
import pytest

NMSE = 1e-12


def convolve(x, kernel, strides, pads, dilations, places):
    """[n, out, places...] of x [n, in, sizes...] and kernel [out, in, taps...], loops over everything."""
    out = np.zeros((x.shape[0], kernel.shape[0], *places))
    for n, o in np.ndindex(*out.shape[:2]):
        for place in np.ndindex(*places):
            for tap in np.ndindex(*kernel.shape[2:]):
                at = [
                    q * s + t * d - p
                    for q, t, s, p, d in zip(place, tap, strides, pads, dilations, strict=True)
                ]
                if all(0 <= a < size for a, size in zip(at, x.shape[2:], strict=True)):
                    for c in range(x.shape[1]):
                        out[(n, o, *place)] += kernel[(o, c, *tap)] * x[(n, c, *at)]
    return out


PARAMS = {0: 2, 1: 1, 2: 1, 3: 2, 4: 1, 5: 2}


@pytest.mark.parametrize("type", ["F32", "F16", "BF16"])
def test_conv_2d(bench, assert_close, type):
    kernel, data = bench.leaf(type, 3, 2, 4, 5), bench.leaf("F32", 9, 7, 4, 2)
    x, k = bench.numbers(data), bench.numbers(kernel)
    expected = convolve(x, k, (1, 2), (2, 1), (2, 1), (9, 5))
    node = bench.node("CONV_2D", "F32", (5, 9, 5, 2), kernel, data, params=PARAMS)
    assert_close(bench.run(node), expected, NMSE)


def test_conv_2d_with_a_window_wider_than_the_data(bench, assert_close):
    kernel, data = bench.leaf("F32", 5, 1, 2, 3), bench.leaf("F32", 2, 4, 2)
    params = {0: 3, 1: 1, 2: 4, 3: 0, 4: 2, 5: 1}
    expected = convolve(bench.numbers(data), bench.numbers(kernel), (1, 3), (0, 4), (1, 2), (4, 1))
    node = bench.node("CONV_2D", "F32", (1, 4, 3), kernel, data, params=params)
    assert_close(bench.run(node), expected, NMSE)


def test_conv_2d_of_permuted_data(bench, assert_close):
    data = bench.transposed(bench.leaf("F32", 3, 6, 5), 2, 0, 1, 3)
    kernel = bench.leaf("F32", 2, 2, 3, 2)
    expected = convolve(bench.numbers(data), bench.numbers(kernel), (1, 1), (0, 0), (1, 1), (4, 5))
    params = {0: 1, 1: 1, 4: 1, 5: 1}
    node = bench.node("CONV_2D", "F32", (5, 4, 2), kernel, data, params=params)
    assert_close(bench.run(node), expected, NMSE)


@pytest.mark.parametrize("type", ["F32", "F16"])
@pytest.mark.parametrize("channels_first", [False, True])
def test_conv_2d_dw(bench, assert_close, type, channels_first):
    kernel = bench.leaf(type, 3, 2, 1, 4)
    if channels_first:
        data = bench.transposed(bench.leaf("F32", 4, 9, 7, 2), 2, 0, 1, 3)
    else:
        data = bench.leaf("F32", 9, 7, 4, 2)
    x, k = bench.numbers(data), bench.numbers(kernel)
    expected = np.concatenate(
        [convolve(x[:, c : c + 1], k[c : c + 1], (1, 2), (2, 1), (2, 1), (9, 5)) for c in range(4)],
        axis=1,
    )
    nb = (16, 80, 4, 720) if channels_first else None
    node = bench.node("CONV_2D_DW", "F32", (5, 9, 4, 2), kernel, data, params=PARAMS, nb=nb)
    assert_close(bench.run(node), expected, NMSE)


REFUSALS = [
    ("CONV_2D", {0: 0}, (3, 2, 4, 5), (5, 9, 5, 2), "s0 is 0, expected at least 1"),
    ("CONV_2D", {5: 0}, (3, 2, 4, 5), (5, 9, 5, 2), "d1 is 0, expected at least 1"),
    ("CONV_2D", {}, (3, 2, 3, 5), (5, 9, 5, 2), "src[0].ne[2] is 3, expected src[1].ne[2]"),
    (
        "CONV_2D", {}, (3, 2, 4, 5), (5, 8, 5, 2),
        "ne is [5, 8, 5, 2], expected [OW, OH, src[0].ne[3], src[1].ne[3]]",
    ),
    ("CONV_2D_DW", {1: -1}, (3, 2, 1, 4), (5, 9, 4, 2), "s1 is -1, expected at least 1"),
    ("CONV_2D_DW", {}, (3, 2, 2, 4), (5, 9, 4, 2), "src[0].ne[2] is 2, expected 1"),
    ("CONV_2D_DW", {}, (3, 2, 1, 5), (5, 9, 4, 2), "src[0].ne[3] is 5, expected src[1].ne[2]"),
    (
        "CONV_2D_DW", {2: 7}, (3, 2, 1, 4), (5, 9, 4, 2),
        "ne is [5, 9, 4, 2], expected [OW, OH, src[1].ne[2], src[1].ne[3]]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "kernel", "ne", "sentence"), REFUSALS)
def test_conv_2d_refusals(bench, name, change, kernel, ne, sentence):
    sources = bench.tensor("F16", *kernel), bench.tensor("F32", 9, 7, 4, 2)
    node = bench.node(name, "F32", ne, *sources, params=PARAMS | change)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [{name} 'y']"


THREE = {0: 2, 1: 1, 2: 1, 3: 1, 4: 0, 5: 1, 6: 1, 7: 2, 8: 1, 9: 3, 10: 2, 11: 4}


@pytest.mark.parametrize("type", ["F32", "F16"])
def test_conv_3d(bench, assert_close, type):
    kernel, data = bench.leaf(type, 3, 2, 2, 12), bench.leaf("F32", 5, 4, 3, 6)
    x = bench.numbers(data).reshape(2, 3, 3, 4, 5)
    k = bench.numbers(kernel).reshape(4, 3, 2, 2, 3)
    expected = convolve(x, k, (1, 1, 2), (1, 0, 1), (1, 2, 1), (4, 2, 3))
    node = bench.node("CONV_3D", "F32", (3, 2, 4, 8), kernel, data, params=THREE)
    assert_close(bench.run(node), expected, NMSE)


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_conv_3d_with_an_empty_kernel_is_zero(bench, empty):
    ne = [1, 1, 1, 1]
    ne[empty] = 0
    places = [3 if d == empty else 2 for d in range(3)]
    params = dict.fromkeys((0, 1, 2, 6, 7, 8, 9, 10, 11), 1)
    sources = bench.tensor("F32", *ne), bench.leaf("F32", 2, 2, 2, 1)
    found = bench.run(bench.node("CONV_3D", "F32", (*places, 1), *sources, params=params))
    assert found.shape == (1, *places[::-1])
    assert not found.any()


CONV_3D_REFUSALS = [
    ({2: 0}, "s2 is 0, expected at least 1"),
    ({6: 0}, "d0 is 0, expected at least 1"),
    ({10: 0}, "n is 0, expected at least 1"),
    ({11: 3}, "src[0].ne[3] is 12, expected channels * out_channels"),
    ({10: 3}, "src[1].ne[3] is 6, expected channels * n"),
    ({3: 0}, "ne is [3, 2, 4, 8], expected [OW, OH, OD, out_channels * n]"),
]


@pytest.mark.parametrize(("change", "sentence"), CONV_3D_REFUSALS)
def test_conv_3d_refusals(bench, change, sentence):
    sources = bench.tensor("F16", 3, 2, 2, 12), bench.tensor("F32", 5, 4, 3, 6)
    node = bench.node("CONV_3D", "F32", (3, 2, 4, 8), *sources, params=THREE | change)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [CONV_3D 'y']"


def convolve_transposed(x, kernel, stride):
    """[n, out, sizes...] of x [n, in, h, w] and kernel [in, out, kh, kw]."""
    (n, n_in, h, w), (_, n_out, kh, kw) = x.shape, kernel.shape
    out = np.zeros((n, n_out, (h - 1) * stride + kh, (w - 1) * stride + kw))
    for i, c, o, y, z in np.ndindex(n, n_in, n_out, h, w):
        out[i, o, y * stride : y * stride + kh, z * stride : z * stride + kw] += (
            x[i, c, y, z] * kernel[c, o]
        )
    return out


@pytest.mark.parametrize("type", ["F32", "F16"])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_conv_transpose_2d(bench, assert_close, type, stride):
    kernel, data = bench.leaf(type, 3, 2, 4, 5), bench.leaf("F32", 4, 3, 5, 2)
    expected = convolve_transposed(bench.numbers(data), bench.numbers(kernel), stride)
    node = bench.node(
        "CONV_TRANSPOSE_2D", "F32", expected.shape[::-1], kernel, data, params={0: stride}
    )
    assert_close(bench.run(node), expected, NMSE)


@pytest.mark.parametrize("type", ["F32", "F16"])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_conv_transpose_1d(bench, assert_close, type, stride):
    kernel, data = bench.leaf(type, 3, 4, 5), bench.leaf("F32", 6, 5)
    x, k = bench.numbers(data)[:, 0, :, None], bench.numbers(kernel)[0][:, :, None]
    expected = convolve_transposed(x, k, stride)[0, :, 0]
    # The one row of a kernel that is one high lies at place 0 only.
    params = {0: stride, 1: 0, 2: 1}
    node = bench.node("CONV_TRANSPOSE_1D", "F32", (5 * stride + 3, 4), kernel, data, params=params)
    assert_close(bench.run(node), expected, NMSE)


ONE = ("CONV_TRANSPOSE_1D", (3, 4, 5), (6, 5), (13, 4))
TWO = ("CONV_TRANSPOSE_2D", (3, 2, 4, 5), (4, 3, 5, 2), (9, 6, 4, 2))
TRANSPOSE_REFUSALS = [
    (ONE, {0: 0}, "stride is 0, expected at least 1"),
    (ONE, {1: 1}, "pad is 1, expected 0"),
    (ONE, {2: 2}, "dilation is 2, expected 1"),
    ((ONE[0], (3, 4, 6), *ONE[2:]), {}, "src[0].ne[2] is 6, expected src[1].ne[1]"),
    ((*ONE[:2], (6, 5, 2), ONE[3]), {}, "src[1].ne is [6, 5, 2, 1], expected a matrix"),
    (
        ONE, {0: 3},
        "ne is [13, 4, 1, 1], expected [(L - 1) * stride + K, src[0].ne[1], 1, 1]",
    ),
    (TWO, {0: -2}, "stride is -2, expected at least 1"),
    ((TWO[0], (3, 2, 4, 6), *TWO[2:]), {}, "src[0].ne[3] is 6, expected src[1].ne[2]"),
    (
        TWO, {0: 1},
        "ne is [9, 6, 4, 2], expected [(W - 1) * stride + KW, (H - 1) * stride + KH, src[0].ne[2], src[1].ne[3]]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("form", "change", "sentence"), TRANSPOSE_REFUSALS)
def test_conv_transpose_refusals(bench, form, change, sentence):
    name, kernel, data, ne = form
    sources = bench.tensor("F16", *kernel), bench.tensor("F32", *data)
    params = {0: 2} | ({2: 1} if name == ONE[0] else {}) | change
    node = bench.node(name, "F32", ne, *sources, params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [{name} 'y']"
