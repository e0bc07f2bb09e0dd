"""REPEAT, CONCAT, PAD, PAD_REFLECT_1D, ROLL."""

import numpy as np
import pytest


@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "I16", "I32"])
def test_repeat(bench, type):
    a = bench.leaf(type, 3, 2, 1, 2, data=np.arange(12))
    found = bench.run(bench.node("REPEAT", type, (6, 2, 3, 4), a))
    x = bench.numbers(a)
    for i3, i2, i1, i0 in np.ndindex(found.shape):
        assert found[i3, i2, i1, i0] == x[i3 % 2, 0, i1 % 2, i0 % 3]


def test_repeat_refusals(bench):
    a = bench.tensor("F32", 3, 2)
    rule = "expected multiples of src[0].ne [REPEAT 'y']"
    assert (
        bench.refusal(bench.node("REPEAT", "F32", (7, 2), a))
        == f"GRAPH_COMPUTE: ne is [7, 2, 1, 1], {rule}"
    )
    empty = bench.tensor("F32", 0, 2)
    assert bench.refusal(bench.node("REPEAT", "F32", (7, 2), empty)) == (
        f"GRAPH_COMPUTE: ne is [7, 2, 1, 1], {rule}"
    )


@pytest.mark.parametrize("dim", range(4))
@pytest.mark.parametrize("type", ["F32", "BF16", "I8", "I64"])
def test_concat(bench, type, dim):
    ne = [4, 3, 2, 2]
    more = list(ne)
    more[dim] = 5
    a = bench.leaf(type, *ne, data=np.arange(48))
    b = bench.leaf(type, *more, data=np.arange(int(np.prod(more))) + 50)
    total = list(ne)
    total[dim] += 5
    found = bench.run(bench.node("CONCAT", type, tuple(total), a, b, params={0: dim}))
    x, y = bench.numbers(a), bench.numbers(b)
    for i in np.ndindex(found.shape):
        at = i[3 - dim]
        j = [*i[: 3 - dim], at - ne[dim], *i[4 - dim :]]
        assert found[i] == (x[i] if at < ne[dim] else y[tuple(j)])


def test_concat_of_quantized_rows(bench):
    a, b = bench.leaf("Q4_0", 64, 2), bench.leaf("Q4_0", 32, 2)
    found = bench.run(bench.node("CONCAT", "Q4_0", (96, 2), a, b, params={0: 0}))
    assert np.array_equal(found[..., :64], bench.numbers(a))
    assert np.array_equal(found[..., 64:], bench.numbers(b))


def test_concat_with_nothing(bench):
    a, b = bench.leaf("F32", 4, 2), bench.tensor("F32", 4, 0)
    found = bench.run(bench.node("CONCAT", "F32", (4, 2), a, b, params={0: 1}))
    assert np.array_equal(found, bench.numbers(a))


CONCAT_REFUSALS = [
    ("F32", (4, 2), (8, 2), 4, "dim is 4, expected inside [0, 4)"),
    ("F32", (4, 2), (8, 2), -1, "dim is -1, expected inside [0, 4)"),
    ("F16", (4, 2), (8, 2), 0, "src[1].type is F16, expected the type of src[0]"),
    ("F32", (4, 3), (8, 2), 0, "src[1].ne is [4, 3, 1, 1], expected src[0].ne except along dim"),
    (
        "F32",
        (4, 2),
        (9, 2),
        0,
        "ne is [9, 2, 1, 1], expected src[0].ne, with both extents added along dim",
    ),
]


@pytest.mark.parametrize(("type", "b", "ne", "dim", "sentence"), CONCAT_REFUSALS)
def test_concat_refusals(bench, type, b, ne, dim, sentence):
    node = bench.node(
        "CONCAT", "F32", ne, bench.tensor("F32", 4, 2), bench.tensor(type, *b), params={0: dim}
    )
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [CONCAT 'y']"


@pytest.mark.parametrize("circular", [0, 1])
def test_pad(bench, circular):
    a = bench.leaf("F32", 4, 3, 2, 2)
    pads = [1, 2, 3, 0, 0, 4, 2, 1]
    ne = tuple(n + pads[2 * d] + pads[2 * d + 1] for d, n in enumerate(a.ne))
    params = dict(enumerate([*pads, circular]))
    found = bench.run(bench.node("PAD", "F32", ne, a, params=params))
    x = bench.numbers(a)
    for i in np.ndindex(found.shape):
        j = [at - pads[2 * (3 - k)] for k, at in enumerate(i)]
        if circular:
            expected = x[tuple(at % n for at, n in zip(j, x.shape))]
        else:
            inside = all(0 <= at < n for at, n in zip(j, x.shape))
            expected = x[tuple(j)] if inside else 0.0
        assert found[i] == expected


PAD_REFUSALS = [
    ({0: -1}, (3, 3), "paddings is [-1, 0, 0, 0, 0, 0, 0, 0], expected none below 0"),
    ({1: 2}, (5, 3), "ne is [5, 3, 1, 1], expected src[0].ne plus the paddings"),
    (
        {0: 5, 8: 1}, (9, 3),
        "paddings is [5, 0, 0, 0, 0, 0, 0, 0], expected on the left at most src[0].ne when circular",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("params", "ne", "sentence"), PAD_REFUSALS)
def test_pad_refusals(bench, params, ne, sentence):
    node = bench.node("PAD", "F32", ne, bench.tensor("F32", 4, 3), params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [PAD 'y']"


def test_pad_reflect_1d(bench):
    a = bench.leaf("F32", 4, data=[1, 2, 3, 4])
    node = bench.node("PAD_REFLECT_1D", "F32", (10,), a, params={0: 3, 1: 3})
    assert bench.run(node).ravel().tolist() == [4, 3, 2, 1, 2, 3, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({0: 4}, "left is 4, expected inside [0, src[0].ne[0])"),
        ({1: -1}, "right is -1, expected inside [0, src[0].ne[0])"),
        ({1: 1}, "ne is [4, 1, 1, 1], expected src[0].ne, with the paddings added to ne[0]"),
    ],
)
def test_pad_reflect_1d_refusals(bench, params, sentence):
    node = bench.node("PAD_REFLECT_1D", "F32", (4,), bench.tensor("F32", 4), params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [PAD_REFLECT_1D 'y']"


def test_roll(bench):
    a = bench.leaf("F32", 4, 3, 2, 2)
    shifts = (3, -2, 1, 0)
    found = bench.run(bench.node("ROLL", "F32", a.ne, a, params=dict(enumerate(shifts))))
    x = bench.numbers(a)
    for i3, i2, i1, i0 in np.ndindex(x.shape):
        assert found[i3, (i2 + 1) % 2, (i1 - 2) % 3, (i0 + 3) % 4] == x[i3, i2, i1, i0]


def test_roll_refusals(bench):
    a = bench.tensor("F32", 4, 3)
    assert bench.refusal(bench.node("ROLL", "F32", a.ne, a, params={0: 4})) == (
        "GRAPH_COMPUTE: shifts is [4, 0, 0, 0], expected smaller than src[0].ne [ROLL 'y']"
    )
