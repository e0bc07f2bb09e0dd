"""WIN_PART, WIN_UNPART, GET_REL_POS and ADD_REL_POS."""

import numpy as np
import pytest

SIZES = [(7, 6, 4, 2, 2), (8, 8, 4, 2, 2), (3, 10, 4, 1, 3), (5, 2, 1, 5, 2)]


@pytest.mark.parametrize(("w", "h", "window", "npx", "npy"), SIZES)
def test_win_part_and_back(bench, w, h, window, npx, npy):
    a = bench.leaf("F32", 3, w, h)
    x = bench.numbers(a)[0]
    expected = np.zeros((npx * npy, window, window, 3))
    for part, i, j in np.ndindex(npx * npy, window, window):
        y, z = part // npx * window + i, part % npx * window + j
        if y < h and z < w:
            expected[part, i, j] = x[y, z]
    params = {0: npx, 1: npy, 2: window}
    parts = bench.node("WIN_PART", "F32", expected.shape[::-1], a, params=params)
    assert np.array_equal(bench.run(parts), expected)
    whole = bench.node("WIN_UNPART", "F32", (3, w, h), parts, params={0: window})
    assert np.array_equal(bench.run(whole)[0], x)


WIN_REFUSALS = [
    ({2: 0}, "window is 0, expected at least 1"),
    ({0: 3}, "npx is 3, expected src[0].ne[1] / window, rounded up"),
    ({1: 1}, "npy is 1, expected src[0].ne[2] / window, rounded up"),
    (
        {0: 3, 2: 3},
        "ne is [3, 4, 4, 4], expected [src[0].ne[0], window, window, npx * npy]",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), WIN_REFUSALS)
def test_win_part_refusals(bench, change, sentence):
    params = {0: 2, 1: 2, 2: 4} | change
    node = bench.node("WIN_PART", "F32", (3, 4, 4, 4), bench.tensor("F32", 3, 7, 6), params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [WIN_PART 'y']"


def test_win_part_takes_one_image(bench):
    a = bench.tensor("F32", 3, 7, 6, 2)
    node = bench.node("WIN_PART", "F32", (3, 4, 4, 4), a, params={0: 2, 1: 2, 2: 4})
    assert bench.refusal(node) == "GRAPH_COMPUTE: src[0].ne[3] is 2, expected 1 [WIN_PART 'y']"


@pytest.mark.parametrize("a", [(3, 4, 4, 3), (3, 4, 3, 4), (2, 4, 4, 4), (3, 4, 4, 5)])
def test_win_unpart_refusals(bench, a):
    node = bench.node("WIN_UNPART", "F32", (3, 7, 6), bench.tensor("F32", *a), params={0: 4})
    assert bench.refusal(node) == (
        f"GRAPH_COMPUTE: src[0].ne is {list(a)}, expected [ne[0], window, window, windows that cover ne[1] and ne[2]] "
        "[WIN_UNPART 'y']"
    )


def test_win_unpart_refuses_no_window(bench):
    node = bench.node("WIN_UNPART", "F32", (3, 7, 6), bench.tensor("F32", 3, 4, 4, 4))
    assert bench.refusal(node) == "GRAPH_COMPUTE: window is 0, expected at least 1 [WIN_UNPART 'y']"


@pytest.mark.parametrize("type", ["F16", "BF16"])
def test_get_rel_pos_copies_bits(bench, type):
    a = bench.leaf(type, 5, 7)
    node = bench.node("GET_REL_POS", "F16", (5, 4, 4), a)
    bench.run(node)
    words, found = a.buffer.view(np.uint16).reshape(7, 5), node.buffer.view(np.uint16)
    for i2, i1 in np.ndindex(4, 4):
        assert np.array_equal(found.reshape(4, 4, 5)[i2, i1], words[3 - i1 + i2])


@pytest.mark.parametrize(
    ("a", "ne", "sentence"),
    [
        ((5, 8), (5, 4, 4), "src[0].ne[1] is 8, expected 2 * n - 1"),
        ((5, 7, 2), (5, 4, 4), "src[0].ne is [5, 7, 2, 1], expected a matrix"),
        (
            (5, 7), (5, 4, 5),
            "ne is [5, 4, 5, 1], expected [src[0].ne[0], n, n, 1] of src[0].ne[1] = 2 * n - 1",
        ),
    ],
)  # fmt: skip
def test_get_rel_pos_refusals(bench, a, ne, sentence):
    node = bench.node("GET_REL_POS", "F16", ne, bench.tensor("F16", *a))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [GET_REL_POS 'y']"


@pytest.mark.parametrize("inplace", [False, True])
def test_add_rel_pos(bench, assert_close, inplace):
    k, w, h, s = 3, 4, 2, 2
    a = bench.leaf("F32", k * k, w * h, s)
    pw, ph = bench.leaf("F32", k, w, h, s), bench.leaf("F32", k, w, h, s)
    expected = bench.numbers(a)[0]
    row_bias, column_bias = bench.numbers(ph), bench.numbers(pw)
    for i, query, key in np.ndindex(s, w * h, k * k):
        y, x = query // w, query % w
        expected[i, query, key] += row_bias[i, y, x, key // k] + column_bias[i, y, x, key % k]
    fields = {"buffer": a.buffer} if inplace else {}
    node = bench.node("ADD_REL_POS", "F32", a.ne, a, pw, ph, params={0: int(inplace)}, **fields)
    assert_close(bench.run(node), expected)


@pytest.mark.parametrize(
    ("a", "pw", "ph", "sentence"),
    [
        ((9, 8, 2), (3, 4, 2, 2), (3, 4, 2, 1), "src[2].ne is [3, 4, 2, 1], expected src[1].ne"),
        (
            (9, 8, 2), (3, 4, 3, 2), (3, 4, 3, 2),
            "src[0].ne is [9, 8, 2, 1], expected [src[1].ne[0] squared, src[1].ne[1] * src[1].ne[2], src[1].ne[3], 1]",
        ),
    ],
)  # fmt: skip
def test_add_rel_pos_refusals(bench, a, pw, ph, sentence):
    sources = [bench.tensor("F32", *ne) for ne in (a, pw, ph)]
    node = bench.node("ADD_REL_POS", "F32", a, *sources)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [ADD_REL_POS 'y']"
