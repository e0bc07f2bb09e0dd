"""GET_ROWS, SET_ROWS, GET_ROWS_BACK: rows by number."""

import numpy as np
import pytest

from ggmlrpc_core import quants
from ggmlrpc_core.errors import OutOfBounds


@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "I32", "Q4_0", "Q6_K", "IQ2_XXS"])
def test_get_rows(bench, type):
    n = 256
    if type == "IQ2_XXS":
        a = bench.tensor(type, n, 7, 2, 3)
        a.buffer[...] = bench.rng.integers(0, 60, a.buffer.shape)
    else:
        a = bench.leaf(type, n, 7, 2, 3)
    ids = bench.leaf("I32", 4, 2, 3, data=bench.rng.integers(0, 7, 24))
    table, chosen = bench.numbers(a), bench.numbers(ids)[0]
    found = bench.run(
        bench.node("GET_ROWS", "I32" if type == "I32" else "F32", (n, 4, 2, 3), a, ids)
    )
    for i3, i2, j in np.ndindex(3, 2, 4):
        assert np.array_equal(found[i3, i2, j], table[i3, i2, chosen[i3, i2, j]], equal_nan=True)


def test_get_rows_decodes_only_the_rows_it_needs(bench, monkeypatch):
    a, ids = bench.leaf("Q8_0", 64, 1000), bench.leaf("I32", 2, data=[999, 3])
    decoded = []
    original = quants.to_f32

    def to_f32(xp, raw, ggml_type):
        decoded.append(raw.shape)
        return original(xp, raw, ggml_type)

    monkeypatch.setattr(quants, "to_f32", to_f32)
    node = bench.node("GET_ROWS", "F32", (64, 2), a, ids)
    bench.check(node)
    from ggmlrpc_core.graph.views import raw_view
    from ggmlrpc_core.ops import run_node

    run_node(np, node, lambda t: raw_view(t, t.buffer))
    assert decoded == [(1, 1, 2, 68)]


@pytest.mark.parametrize("wrong", [-1, 7])
def test_get_rows_refuses_a_row_outside(bench, wrong):
    a, ids = bench.leaf("F32", 4, 7), bench.leaf("I32", 2, data=[6, wrong])
    node = bench.node("GET_ROWS", "F32", (4, 2), a, ids)
    with pytest.raises(OutOfBounds) as caught:
        bench.run(node)
    assert (
        str(caught.value)
        == f"GET_ROWS: an id in src[1] is {wrong}, expected inside [0, 7) [node 'y']"
    )
    assert not bench.numbers(node).any()


GET_ROWS_REFUSALS = [
    ((4, 7, 3), (2, 2), (4, 2, 2), "src[1].ne[1] is 2, expected src[0].ne[2]"),
    ((4, 7, 2, 3), (2, 2, 2), (4, 2, 2, 2), "src[1].ne[2] is 2, expected src[0].ne[3]"),
    (
        (4, 7), (2,), (4, 1),
        "ne is [4, 1, 1, 1], expected [src[0].ne[0], src[1].ne[0], src[1].ne[1], src[1].ne[2]]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("a", "ids", "ne", "sentence"), GET_ROWS_REFUSALS)
def test_get_rows_refusals(bench, a, ids, ne, sentence):
    node = bench.node("GET_ROWS", "F32", ne, bench.leaf("F32", *a), bench.tensor("I32", *ids))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [GET_ROWS 'y']"


def test_get_rows_keeps_integers(bench):
    node = bench.node("GET_ROWS", "F32", (4, 2), bench.tensor("I32", 4, 7), bench.tensor("I32", 2))
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: type is F32, expected I32 exactly when src[0] is I32 [GET_ROWS 'y']"
    )


@pytest.mark.parametrize("id_type", ["I32", "I64"])
@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "Q8_0"])
def test_set_rows(bench, assert_close, type, id_type):
    destination = bench.leaf(type, 32, 6, 4, 2)
    values = bench.leaf("F32", 32, 3, 4, 2)
    ids = bench.leaf(id_type, 3, 2, 1, data=[5, 0, 2, 1, 4, 3])
    expected, written = bench.numbers(destination), np.zeros((2, 4, 6), bool)
    for i3, i2, j in np.ndindex(2, 4, 3):
        row = bench.numbers(ids)[0, 0, i2 % 2, j]
        expected[i3, i2, row] = bench.numbers(values)[i3, i2, j]
        written[i3, i2, row] = True
    before = bench.numbers(destination)
    node = bench.node(
        "SET_ROWS", type, destination.ne, values, ids, destination, buffer=destination.buffer
    )
    found = bench.run(node)
    assert np.array_equal(found[~written], before[~written])
    assert_close(found, expected, {"F32": 0.0, "F16": 1e-6, "BF16": 1e-5, "Q8_0": 1e-4}[type])


def test_set_rows_without_destination_and_into_a_view(bench):
    cache = bench.leaf("F32", 4, 10)
    part = bench.part(cache, 4, 5, nb=(4, 32, 160, 160), offset=16)
    values, ids = bench.leaf("F32", 4, 2), bench.leaf("I32", 2, data=[4, 0])
    before = bench.numbers(cache)
    node = bench.node(
        "SET_ROWS", "F32", part.ne, values, ids, nb=part.nb, buffer=cache.buffer, offset=16
    )
    bench.run(node)
    expected = before.copy()
    expected[0, 0, [9, 1]] = bench.numbers(values)[0, 0]
    assert np.array_equal(bench.numbers(cache), expected)


def test_set_rows_writes_nothing_when_an_id_is_outside(bench):
    destination = bench.leaf("F32", 4, 3)
    before = bench.numbers(destination)
    values, ids = bench.leaf("F32", 4, 2), bench.leaf("I64", 2, data=[0, 3])
    node = bench.node(
        "SET_ROWS", "F32", (4, 3), values, ids, destination, buffer=destination.buffer
    )
    with pytest.raises(OutOfBounds) as caught:
        bench.run(node)
    assert str(caught.value) == "SET_ROWS: an id in src[1] is 3, expected inside [0, 3) [node 'y']"
    assert np.array_equal(bench.numbers(destination), before)


SET_ROWS_REFUSALS = [
    ({"values": (5, 3, 4, 2)}, "src[0].ne[0] is 5, expected ne[0]"),
    ({"values": (4, 3, 2, 2)}, "src[0].ne[2] is 2, expected ne[2]"),
    ({"values": (4, 3, 4, 1)}, "src[0].ne[3] is 1, expected ne[3]"),
    ({"ids": (2, 2)}, "src[1].ne[0] is 2, expected src[0].ne[1]"),
    ({"ids": (3, 3)}, "src[1].ne[1] is 3, expected a divisor of src[0].ne[2]"),
    ({"ids": (3, 1, 3)}, "src[1].ne[2] is 3, expected a divisor of src[0].ne[3]"),
    ({"ids": (3, 1, 1, 2)}, "src[1].ne[3] is 2, expected 1"),
    ({"destination": (4, 7, 4, 2)}, "src[2].ne is [4, 7, 4, 2], expected the shape of the node"),
]


@pytest.mark.parametrize(("change", "sentence"), SET_ROWS_REFUSALS)
def test_set_rows_refusals(bench, change, sentence):
    at = {"values": (4, 3, 4, 2), "ids": (3, 2, 1), "destination": (4, 6, 4, 2)} | change
    sources = [
        bench.tensor(type, *at[k])
        for type, k in (("F32", "values"), ("I64", "ids"), ("F32", "destination"))
    ]
    node = bench.node("SET_ROWS", "F32", (4, 6, 4, 2), *sources)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [SET_ROWS 'y']"


def test_set_rows_refuses_a_type_that_cannot_be_written(bench):
    node = bench.node(
        "SET_ROWS", "IQ2_XXS", (256, 6), bench.tensor("F32", 256, 2), bench.tensor("I32", 2)
    )
    assert bench.refusal(node).startswith(
        "GRAPH_COMPUTE: type is IQ2_XXS, expected one of F32, F16,"
    )


@pytest.mark.parametrize("type", ["F32", "F16"])
def test_get_rows_back(bench, assert_close, type):
    gradient, ids = bench.leaf(type, 3, 6), bench.leaf("I32", 6, data=[2, 0, 2, 2, 4, 0])
    expected = np.zeros((1, 1, 5, 3))
    for j, row in enumerate(bench.numbers(ids).ravel()):
        expected[0, 0, row] += bench.numbers(gradient)[0, 0, j]
    assert_close(
        bench.run(bench.node("GET_ROWS_BACK", "F32", (3, 5), gradient, ids)), expected, 1e-13
    )


def test_get_rows_back_with_fewer_ids_than_rows(bench, assert_close):
    gradient, ids = bench.leaf("F32", 3, 6), bench.leaf("I32", 2, data=[1, 1])
    expected = np.zeros((1, 1, 5, 3))
    expected[0, 0, 1] = bench.numbers(gradient)[0, 0, :2].sum(axis=0)
    assert_close(
        bench.run(bench.node("GET_ROWS_BACK", "F32", (3, 5), gradient, ids)), expected, 1e-13
    )


def test_get_rows_back_refusals(bench):
    gradient = bench.tensor("F32", 3, 6)
    assert bench.refusal(
        bench.node("GET_ROWS_BACK", "F32", (3, 5), gradient, bench.tensor("I32", 7))
    ) == ("GRAPH_COMPUTE: src[1].ne[0] is 7, expected at most src[0].ne[1] [GET_ROWS_BACK 'y']")
    assert bench.refusal(
        bench.node("GET_ROWS_BACK", "F32", (4, 5), gradient, bench.tensor("I32", 6))
    ) == (
        "GRAPH_COMPUTE: ne is [4, 5, 1, 1], expected a matrix with rows of src[0].ne[0] [GET_ROWS_BACK 'y']"
    )
