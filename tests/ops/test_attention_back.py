"""FLASH_ATTN_BACK, against differences of the attention that it is the gradient of."""

import math

import numpy as np
import pytest

D, TOKENS, KV = 3, 2, 5
STEP = 1e-6


def attention(q, k, v, masked):
    """[s, heads, tokens, D] of q [s, heads, tokens, D], k [s, heads_k, kv, D], v [s, heads_k, D, kv]."""
    out = np.zeros(q.shape)
    for s, h, t in np.ndindex(*q.shape[:3]):
        keys, values = k[s, h % k.shape[1]], v[s, h % k.shape[1]]
        n = KV - TOKENS + t + 1 if masked else KV
        e = np.array([math.exp(q[s, h, t] @ keys[j] / math.sqrt(D)) for j in range(n)])
        out[s, h, t] = values[:, :n] @ (e / e.sum())
    return out


@pytest.mark.parametrize("masked", [0, 1])
@pytest.mark.parametrize(("heads", "heads_k", "seqs"), [(1, 1, 1), (4, 2, 2)])
def test_gradients(bench, assert_close, masked, heads, heads_k, seqs):
    q, d = (bench.leaf("F32", D, TOKENS, heads, seqs) for _ in range(2))
    k, v = bench.leaf("F32", D, KV, heads_k, seqs), bench.leaf("F32", KV, D, heads_k, seqs)
    values, gradient = [bench.numbers(t) for t in (q, k, v)], bench.numbers(d)
    expected = []
    for at in range(3):
        flat = np.zeros(values[at].size)
        for i in range(flat.size):
            sides = []
            for step in (STEP, -STEP):
                moved = [x.copy() for x in values]
                moved[at].ravel()[i] += step
                sides.append(np.sum(gradient * attention(*moved, masked)))
            flat[i] = (sides[0] - sides[1]) / (2 * STEP)
        expected.append(np.pad(flat, (0, -flat.size % 4)))
    expected = np.concatenate(expected)
    node = bench.node("FLASH_ATTN_BACK", "F32", expected.shape, q, k, v, d, params={0: masked})
    assert_close(bench.run(node), expected, 1e-10)


SHAPES = [(4, 3, 2), (4, 5), (5, 4), (4, 3, 2)]
REFUSALS = [
    ({}, {0: 2}, (64,), "masked is 2, expected 0 or 1"),
    (
        {1: (4, 5, 3)}, {}, (64,),
        "src[1].ne is [4, 5, 3, 1], expected [src[0].ne[0], any, a divisor of src[0].ne[2], src[0].ne[3]]",
    ),
    (
        {2: (4, 5)}, {}, (64,),
        "src[2].ne is [4, 5, 1, 1], expected [src[1].ne[1], src[1].ne[0], src[1].ne[2], src[1].ne[3]]",
    ),
    ({3: (4, 3)}, {}, (64,), "src[3].ne is [4, 3, 1, 1], expected src[0].ne"),
    ({1: (4, 2), 2: (2, 4)}, {}, (40,), "src[1].ne[1] is 2, expected at least src[0].ne[1]"),
    (
        {}, {}, (63,),
        "ne is [63, 1, 1, 1], expected the elements of src[0], src[1] and src[2], each padded to 4",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "params", "ne", "sentence"), REFUSALS)
def test_refusals(bench, change, params, ne, sentence):
    sources = [bench.tensor("F32", *change.get(i, shape)) for i, shape in enumerate(SHAPES)]
    node = bench.node("FLASH_ATTN_BACK", "F32", ne, *sources, params=params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [FLASH_ATTN_BACK 'y']"
