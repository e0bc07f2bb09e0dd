"""MUL_MAT, MUL_MAT_ID and OUT_PROD against plain loops in double."""

import numpy as np
import pytest

from ggmlrpc_core.errors import OutOfBounds
from ggmlrpc_core.ops import matmul


def products(a, b):
    """[m, n, B2, B3] by its definition; a and b in NumPy order."""
    a3, a2, m, _ = a.shape
    b3, b2, n, _ = b.shape
    y = np.zeros((b3, b2, n, m))
    for i3, i2, j, i in np.ndindex(y.shape):
        y[i3, i2, j, i] = sum(a[i3 // (b3 // a3), i2 // (b2 // a2), i] * b[i3, i2, j])
    return y


@pytest.mark.parametrize(
    "types", [("F32", "F32"), ("F16", "F32"), ("BF16", "F32"), ("Q4_0", "F32"), ("F32", "F16")]
)
def test_mul_mat_shares_slices_of_source_0(bench, assert_close, types):
    a, b = bench.leaf(types[0], 32, 5, 2, 3), bench.leaf(types[1], 32, 4, 4, 3)
    found = bench.run(bench.node("MUL_MAT", "F32", (5, 4, 4, 3), a, b))
    assert_close(found, products(bench.numbers(a), bench.numbers(b)), 1e-12)


def test_mul_mat_of_permuted_sources(bench, assert_close):
    a, b = bench.leaf("F16", 8, 2, 5), bench.leaf("F32", 8, 6, 3)
    a, b = bench.transposed(a, 0, 2, 1, 3), bench.transposed(b, 0, 2, 1, 3)
    found = bench.run(bench.node("MUL_MAT", "F32", (5, 3, 6), a, b))
    assert_close(found, products(bench.numbers(a), bench.numbers(b)), 1e-12)


def test_tiles_give_the_same_as_one_product(bench, monkeypatch):
    a, b = bench.leaf("Q8_0", 64, 23), bench.leaf("F32", 64, 4)
    whole = bench.run(bench.node("MUL_MAT", "F32", (23, 4), a, b))
    monkeypatch.setattr(matmul, "TILE_BYTES", 4 * 64 * 5)
    assert [s.stop for s in matmul.row_tiles(23, 64)] == [5, 10, 15, 20, 23]
    tiled = bench.run(bench.node("MUL_MAT", "F32", (23, 4), a, b))
    assert np.allclose(whole, tiled, rtol=1e-6, atol=1e-6)


def test_a_row_larger_than_a_tile_is_one_tile(monkeypatch):
    monkeypatch.setattr(matmul, "TILE_BYTES", 16)
    assert list(matmul.row_tiles(2, 100)) == [slice(0, 1), slice(1, 2)]


MUL_MAT_REFUSALS = [
    (("F32", (8, 5)), ("F32", (7, 4)), (5, 4), "src[1].ne[0] is 7, expected src[0].ne[0]"),
    (
        ("F32", (8, 5, 3)), ("F32", (8, 4, 4)), (5, 4, 4),
        "src[0].ne is [8, 5, 3, 1], expected ne[2] and ne[3] that divide those of src[1]",
    ),
    (
        ("F32", (8, 5)), ("F32", (8, 4)), (4, 5),
        "ne is [4, 5, 1, 1], expected [src[0].ne[1], src[1].ne[1], src[1].ne[2], src[1].ne[3]]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "ne", "sentence"), MUL_MAT_REFUSALS)
def test_mul_mat_refusals(bench, a, b, ne, sentence):
    a, b = bench.leaf(a[0], *a[1]), bench.leaf(b[0], *b[1])
    assert (
        bench.refusal(bench.node("MUL_MAT", "F32", ne, a, b))
        == f"GRAPH_COMPUTE: {sentence} [MUL_MAT 'y']"
    )


@pytest.mark.parametrize("type", ["Q8_1", "Q8_K", "I32", "F64"])
def test_mul_mat_refuses_types_without_dot_product(bench, type):
    a, b = bench.tensor(type, 256, 2), bench.leaf("F32", 256, 1)
    sentence = bench.refusal(bench.node("MUL_MAT", "F32", (2, 1), a, b))
    assert sentence.startswith(
        f"GRAPH_COMPUTE: src[0].type is {type}, expected one of F32, F16, Q4_0,"
    )
    assert sentence.endswith(" [MUL_MAT 'y']")


def test_mul_mat_refuses_a_transposed_weight(bench):
    a = bench.transposed(bench.leaf("F32", 5, 8), 1, 0, 2, 3)
    node = bench.node("MUL_MAT", "F32", (5, 4), a, bench.leaf("F32", 8, 4))
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[0].nb is [20, 4, 160, 160], expected rows that are not transposed [MUL_MAT 'y']"
    )


@pytest.mark.parametrize("type", ["F32", "Q4_0"])
@pytest.mark.parametrize("n_slots", [1, 2, 4])
def test_mul_mat_id(bench, assert_close, type, n_slots):
    experts, b = bench.leaf(type, 32, 5, 6), bench.leaf("F32", 32, n_slots, 3)
    ids = bench.leaf("I32", 4, 3, data=[5, 0, 5, 2, 2, 2, 0, 1, 0, 5, 1, 5])
    w, x, chosen = bench.numbers(experts)[0], bench.numbers(b)[0], bench.numbers(ids)[0, 0]
    expected = np.zeros((1, 3, 4, 5))
    for token, used in np.ndindex(3, 4):
        for m in range(5):
            expected[0, token, used, m] = sum(w[chosen[token, used], m] * x[token, used % n_slots])
    found = bench.run(bench.node("MUL_MAT_ID", "F32", (5, 4, 3), experts, b, ids))
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("wrong", [-1, 6, 2**31 - 1])
def test_mul_mat_id_refuses_an_id_outside_the_experts(bench, wrong):
    experts, b = bench.leaf("F32", 32, 5, 6), bench.leaf("F32", 32, 1, 3)
    ids = bench.leaf("I32", 2, 3, data=[5, 0, wrong, 2, 2, 2])
    with pytest.raises(OutOfBounds) as caught:
        bench.run(bench.node("MUL_MAT_ID", "F32", (5, 2, 3), experts, b, ids))
    assert (
        str(caught.value)
        == f"MUL_MAT_ID: an id in src[2] is {wrong}, expected inside [0, 6) [node 'y']"
    )


MUL_MAT_ID_REFUSALS = [
    ({"b": (31, 1, 3)}, "src[1].ne[0] is 31, expected src[0].ne[0]"),
    ({"experts": (32, 5, 6, 2)}, "src[0].ne[3] is 2, expected 1"),
    ({"ids": (2, 4)}, "src[2].ne[1] is 4, expected src[1].ne[2]"),
    ({"b": (32, 4, 3)}, "src[2].ne[0] is 2, expected a multiple of src[1].ne[1]"),
    ({"ids": (2, 3, 2)}, "src[2].ne is [2, 3, 2, 1], expected a matrix"),
    (
        {"ne": (5, 3, 2)},
        "ne is [5, 3, 2, 1], expected [src[0].ne[1], src[2].ne[0], src[1].ne[2], 1]",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), MUL_MAT_ID_REFUSALS)
def test_mul_mat_id_refusals(bench, change, sentence):
    at = {"experts": (32, 5, 6), "b": (32, 1, 3), "ids": (2, 3), "ne": (5, 2, 3)} | change
    sources = (
        bench.leaf("F32", *at["experts"]),
        bench.leaf("F32", *at["b"]),
        bench.leaf("I32", *at["ids"], data=np.zeros(np.prod(at["ids"]))),
    )
    node = bench.node("MUL_MAT_ID", "F32", at["ne"], *sources)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [MUL_MAT_ID 'y']"


@pytest.mark.parametrize("type", ["F32", "F16"])
def test_out_prod(bench, assert_close, type):
    a, b = bench.leaf(type, 3, 5, 2), bench.leaf("F32", 4, 5, 4, 2)
    x, y = bench.numbers(a), bench.numbers(b)
    expected = np.zeros((2, 4, 4, 3))
    for i3, i2, j, i in np.ndindex(expected.shape):
        expected[i3, i2, j, i] = sum(x[0, i2 // 2, k, i] * y[i3, i2, k, j] for k in range(5))
    assert_close(bench.run(bench.node("OUT_PROD", "F32", (3, 4, 4, 2), a, b)), expected, 1e-12)


def test_out_prod_refusals(bench):
    a = bench.leaf("F32", 3, 5)
    assert bench.refusal(bench.node("OUT_PROD", "F32", (3, 4), a, bench.leaf("F32", 4, 6))) == (
        "GRAPH_COMPUTE: src[1].ne[1] is 6, expected src[0].ne[1] [OUT_PROD 'y']"
    )
