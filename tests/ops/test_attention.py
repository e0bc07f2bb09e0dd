"""FLASH_ATTN_EXT against one score at a time in double."""

import math

import numpy as np
import pytest

from ggmlrpc_core.ops import attention
from ggmlrpc_core.ops.softmax import alibi_slopes

DK, DV, TOKENS, HEADS, KV, STREAMS = 32, 64, 3, 6, 7, 2


def attend(q, k, v, mask, sinks, *, scale, max_bias, softcap):
    """[streams, tokens, heads, dv] by its definition."""
    slopes = alibi_slopes(q.shape[1], max_bias).astype(np.float64)
    streams, heads, tokens, _ = q.shape
    y = np.zeros((streams, tokens, heads, v.shape[3]))
    for s, h, t in np.ndindex(streams, heads, tokens):
        ks = k[s // (streams // k.shape[0]), h // (heads // k.shape[1])]
        vs = v[s // (streams // v.shape[0]), h // (heads // v.shape[1])]
        scores = []
        for j in range(len(ks)):
            score = float(q[s, h, t] @ ks[j]) * scale
            if softcap:
                score = softcap * math.tanh(score / softcap)
            if mask is not None:
                score += slopes[h] * mask[s % mask.shape[0], h % mask.shape[1], t, j]
            scores.append(score)
        top = max([*scores, -math.inf if sinks is None else sinks[h]])
        if top == -math.inf:
            continue
        weights = [math.exp(score - top) for score in scores]
        total = sum(weights) + (0.0 if sinks is None else math.exp(sinks[h] - top))
        y[s, t, h] = sum(w * row for w, row in zip(weights, vs)) / total
    return y


def sources(
    bench,
    *,
    type="F16",
    heads_k=2,
    heads_v=2,
    streams_kv=STREAMS,
    mask=(KV, TOKENS, 2, 1),
    sinks=False,
):
    """q, k, v, mask and sinks; the mask hides some keys, and every key of the last token of head 0."""
    q = bench.leaf("F32", DK, TOKENS, HEADS, STREAMS)
    k = bench.leaf(type, DK, KV, heads_k, streams_kv)
    v = bench.leaf(type, DV, KV, heads_v, streams_kv)
    m = None
    if mask is not None:
        data = bench.rng.standard_normal((*(1,) * (4 - len(mask)), *mask[::-1]))
        data[..., 4:6] = -math.inf
        data[0, 0, TOKENS - 1] = -math.inf
        m = bench.leaf("F16", *mask, data=data)
    s = bench.leaf("F32", HEADS) if sinks else None
    return q, k, v, m, s


def node_of(bench, src, **p):
    p = {"scale": 0.25, "max_bias": 0.0, "softcap": 0.0} | p
    params = {0: p["scale"], 1: p["max_bias"], 2: p["softcap"]}
    return bench.node("FLASH_ATTN_EXT", "F32", (DV, HEADS, TOKENS, STREAMS), *src, params=params), p


def expect(bench, src, p):
    q, k, v, m, s = (None if t is None else bench.numbers(t) for t in src)
    return attend(q, k, v, m, None if s is None else s.ravel(), **p)


@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_types_of_k_and_v(bench, assert_close, type):
    src = sources(bench, type=type)
    node, p = node_of(bench, src)
    assert_close(bench.run(node), expect(bench, src, p), 1e-11)


@pytest.mark.parametrize("softcap", [0.0, 2.0])
@pytest.mark.parametrize("max_bias", [0.0, 8.0])
@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("mask", [None, (KV, TOKENS), (KV, TOKENS + 2, 3, 2)])
def test_mask_bias_softcap_and_sinks(bench, assert_close, softcap, max_bias, sinks, mask):
    src = sources(bench, mask=mask, sinks=sinks)
    node, p = node_of(bench, src, softcap=softcap, max_bias=max_bias if mask else 0.0)
    assert_close(bench.run(node), expect(bench, src, p), 1e-11)


@pytest.mark.parametrize(
    ("heads_k", "heads_v", "streams"), [(1, 1, 2), (6, 6, 2), (3, 2, 2), (2, 2, 1)]
)
def test_heads_and_streams_are_shared(bench, assert_close, heads_k, heads_v, streams):
    src = sources(bench, heads_k=heads_k, heads_v=heads_v, streams_kv=streams)
    node, p = node_of(bench, src)
    assert_close(bench.run(node), expect(bench, src, p), 1e-11)


def test_a_row_without_keys_is_zero_and_never_nan(bench):
    src = sources(bench)
    node, _ = node_of(bench, src)
    y = bench.run(node)
    assert not y[:, TOKENS - 1, 0].any()
    assert y[:, TOKENS - 1, 1].all()


def test_a_masked_key_is_skipped_whatever_it_holds(bench, assert_close):
    src = sources(bench)
    node, p = node_of(bench, src)
    expected = expect(bench, src, p)
    data = bench.numbers(src[1])
    data[:, :, 5] = math.inf
    spoiled = bench.leaf("F16", DK, KV, 2, STREAMS, data=data)
    node.src = (src[0], spoiled, *src[2:])
    assert_close(bench.run(node), expected, 1e-11)


def test_columns_of_the_mask_beyond_the_keys_are_ignored(bench, assert_close):
    src = sources(bench)
    node, p = node_of(bench, src)
    expected = expect(bench, src, p)
    wide = np.full((1, 2, TOKENS, KV + 3), -math.inf)
    wide[..., :KV] = bench.numbers(src[3])
    node.src = (*src[:3], bench.leaf("F16", KV + 3, TOKENS, 2, data=wide))
    assert_close(bench.run(node), expected, 1e-11)


def test_tiles_of_queries(bench, assert_close, monkeypatch):
    monkeypatch.setattr(attention, "TILE_BYTES", 4 * KV * 2)
    src = sources(bench, sinks=True)
    node, p = node_of(bench, src, softcap=3.0)
    assert_close(bench.run(node), expect(bench, src, p), 1e-11)


def test_permuted_sources(bench, assert_close):
    q, k, v, m, s = sources(bench)
    q = bench.transposed(bench.leaf("F32", DK, HEADS, TOKENS, STREAMS), 0, 2, 1, 3)
    k = bench.transposed(bench.leaf("F16", DK, 2, KV, STREAMS), 0, 2, 1, 3)
    node, p = node_of(bench, (q, k, v, m, s))
    assert_close(bench.run(node), expect(bench, (q, k, v, m, s), p), 1e-11)


REFUSALS = [
    (1, "F16", (31, KV, 2, 2), "src[1].ne[0] is 31, expected src[0].ne[0]"),
    (1, "F16", (DK, 0, 2, 2), "src[1].ne[1] is 0, expected at least 1"),
    (2, "F16", (DV, KV - 1, 2, 2), "src[2].ne[1] is 6, expected src[1].ne[1]"),
    (1, "F16", (DK, KV, 4, 2), "src[1].ne[2] is 4, expected a divisor of src[0].ne[2]"),
    (2, "F16", (DV, KV, 2, 3), "src[2].ne[3] is 3, expected a divisor of src[0].ne[3]"),
    (3, "F16", (KV - 1, TOKENS), "src[3].ne[0] is 6, expected at least src[1].ne[1]"),
    (3, "F16", (KV, TOKENS - 1), "src[3].ne[1] is 2, expected at least src[0].ne[1]"),
    (3, "F16", (KV, TOKENS, 4), "src[3].ne[2] is 4, expected a divisor of src[0].ne[2]"),
    (3, "F32", (KV, TOKENS), "src[3].type is F32, expected F16"),
    (4, "F32", (5,), "src[4].ne is [5, 1, 1, 1], expected [src[0].ne[2], 1, 1, 1]"),
]


@pytest.mark.parametrize(("slot", "type", "ne", "sentence"), REFUSALS)
def test_refusals(bench, slot, type, ne, sentence):
    src = list(sources(bench))
    src[slot] = bench.tensor(type, *ne)
    node, _ = node_of(bench, src)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [FLASH_ATTN_EXT 'y']"


def test_refused_bias_without_mask(bench):
    node, _ = node_of(bench, sources(bench, mask=None), max_bias=1.0)
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: max_bias is 1.0, expected 0 without a mask [FLASH_ATTN_EXT 'y']"
    )
