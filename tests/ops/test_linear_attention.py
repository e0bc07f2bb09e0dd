"""RWKV_WKV6, RWKV_WKV7, GATED_LINEAR_ATTN and GATED_DELTA_NET."""

import math

import numpy as np
import pytest

S, H, T, SEQS = 3, 2, 6, 2
NMSE = 1e-11


def sources_of(bench, n, *, first_at=None):
    """n sources [S, H, T] with small numbers, then a state."""
    shapes = [(S, H) if i == first_at else (S, H, T) for i in range(n)]
    leafs = [
        bench.leaf("F32", *ne, data=bench.rng.uniform(-0.8, 0.8, int(np.prod(ne)))) for ne in shapes
    ]
    return [*leafs, bench.leaf("F32", S * S * H, SEQS)]


def expected_rows(bench, sources, step, first_at=None):
    """Outputs, then states, as rows of S * H; `step(s, i, h, t)` gives (y [S], new s [S, S])."""
    state = bench.numbers(sources[-1])[0, 0].reshape(SEQS, H, S, S)
    values = [bench.numbers(x)[0].reshape(-1, H, S) for x in sources[:-1]]
    y, last = np.zeros((T, H, S)), np.zeros((SEQS, H, S, S))
    for q, h in np.ndindex(SEQS, H):
        s = state[q, h]
        for t in range(q * T // SEQS, (q + 1) * T // SEQS):
            one = [v[0 if i == first_at else t, h] for i, v in enumerate(values)]
            y[t, h], s = step(s, *one)
        last[q, h] = s
    return np.concatenate([y.reshape(T, H * S), last.reshape(SEQS * S, H * S)])


def wkv6(s, k, v, r, first, decay):
    y, new = np.zeros(S), np.empty((S, S))
    for i, j in np.ndindex(S, S):
        y[j] += r[i] * (first[i] * k[i] * v[j] + s[i, j])
        new[i, j] = s[i, j] * decay[i] + k[i] * v[j]
    return y, new


def linear(s, k, v, q, gate, scale=0.5):
    y, new = np.zeros(S), np.empty((S, S))
    for i, j in np.ndindex(S, S):
        new[i, j] = s[i, j] * gate[i] + k[i] * v[j]
        y[j] += q[i] * scale * new[i, j]
    return y, new


def wkv7(s, r, decay, k, v, a, b):
    y, new = np.zeros(S), np.empty((S, S))
    for i in range(S):
        removed = sum(a[j] * s[i, j] for j in range(S))
        for j in range(S):
            new[i, j] = s[i, j] * decay[j] + v[i] * k[j] + removed * b[j]
            y[i] += new[i, j] * r[j]
    return y, new


RECURRENT = {
    "RWKV_WKV6": (5, 3, wkv6, {}),
    "GATED_LINEAR_ATTN": (4, None, linear, {0: 0.5}),
    "RWKV_WKV7": (6, None, wkv7, {}),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent(bench, assert_close, name):
    n, first_at, step, params = RECURRENT[name]
    sources = sources_of(bench, n, first_at=first_at)
    expected = expected_rows(bench, sources, step, first_at)
    node = bench.node(name, "F32", (S * H, T + S * SEQS), *sources, params=params)
    assert_close(bench.run(node), expected, NMSE)


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_refusals(bench, name):
    n, first_at, _, _ = RECURRENT[name]
    tail = f"[{name} 'y']"

    def refusal(ne, **changes):
        sources = sources_of(bench, n, first_at=first_at)
        for at, tensor in changes.items():
            sources[int(at[1:])] = tensor
        return bench.refusal(bench.node(name, "F32", ne, *sources))

    ne = (S * H, T + S * SEQS)
    assert refusal((S * H, T + S)) == (
        f"GRAPH_COMPUTE: ne is [6, 9, 1, 1], expected [src[0].ne[0] * src[0].ne[1], "
        f"src[0].ne[2] + src[0].ne[0] * sequences, 1, 1] {tail}"
    )
    assert refusal(ne, s1=bench.tensor("F32", S, H, T + 1)) == (
        f"GRAPH_COMPUTE: src[1].ne is [3, 2, 7, 1], expected src[0].ne {tail}"
    )
    state = bench.tensor("F32", S * S * H, 4)
    assert refusal((S * H, T + S * 4), **{f"s{n}": state}) == (
        f"GRAPH_COMPUTE: src[{n}].ne[1] is 4, expected a divisor of src[0].ne[2] {tail}"
    )
    state = bench.tensor("F32", S * S * H + S * H, SEQS)
    assert refusal(ne, **{f"s{n}": state}) == (
        f"GRAPH_COMPUTE: src[{n}].ne is [24, 2, 1, 1], expected src[0].ne[0] squared * src[0].ne[1] "
        f"elements for each of ne[1] sequences {tail}"
    )
    gaps = bench.part(bench.tensor("F32", S, H, 2 * T), S, H, T, nb=(4, 12, 48, 288))
    assert refusal(ne, s2=gaps) == (
        f"GRAPH_COMPUTE: src[2].nb is [4, 12, 48, 288], expected strides without gaps {tail}"
    )


def test_wkv6_refuses_a_first_of_another_size(bench):
    sources = sources_of(bench, 5, first_at=3)
    sources[3] = bench.tensor("F32", S, H + 1)
    node = bench.node("RWKV_WKV6", "F32", (S * H, T + S * SEQS), *sources)
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[3].ne is [3, 3, 1, 1], expected src[0].ne[0] * src[0].ne[1] elements "
        "[RWKV_WKV6 'y']"
    )


def delta(bench, *, gate=1, slots=1, q_heads=2, q_seqs=2, k_heads=4, tokens=3, **fields):
    """A GATED_DELTA_NET node of 4 heads of 3, 2 sequences."""
    sources = [
        bench.leaf("F32", 3, q_heads, tokens, q_seqs),
        bench.leaf("F32", 3, k_heads, tokens, 1),
        bench.leaf("F32", 3, 4, tokens, 2),
        bench.leaf("F32", gate, 4, tokens, 2),
        bench.leaf("F32", 1, 4, tokens, 2),
        bench.leaf("F32", 3, 3, 4, 2),
    ]
    ne = (12, tokens * 2 + slots * 6)
    return bench.node("GATED_DELTA_NET", "F32", ne, *sources, params={0: slots}, **fields)


def expected_delta(bench, node):
    """(y rows, state rows after each token)."""
    q, k, v, gate, beta, state = (bench.numbers(t) for t in node.src)
    tokens = v.shape[1]
    y, states = np.zeros((2, tokens, 4, 3)), np.zeros((tokens, 2, 4, 3, 3))
    for n, h in np.ndindex(2, 4):
        s = state[n, h].copy()
        for t in range(tokens):
            qs = q[n * q.shape[0] // 2, t, h % q.shape[2]]
            ks = k[n * k.shape[0] // 2, t, h % k.shape[2]]
            for j, i in np.ndindex(3, 3):
                s[j, i] *= math.exp(gate[n, t, h, i % gate.shape[3]])
            for j in range(3):
                d = beta[n, t, h, 0] * (v[n, t, h, j] - sum(s[j, i] * ks[i] for i in range(3)))
                for i in range(3):
                    s[j, i] += d * ks[i]
            for j in range(3):
                y[n, t, h, j] = sum(s[j, i] * qs[i] for i in range(3)) / math.sqrt(3)
            states[t, n, h] = s
    return y.reshape(-1, 12), states.reshape(tokens, -1, 12)


@pytest.mark.parametrize("gate", [1, 3])
@pytest.mark.parametrize(("q_heads", "q_seqs", "k_heads"), [(4, 2, 4), (2, 1, 4), (3, 2, 1)])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_gated_delta_net(bench, assert_close, gate, q_heads, q_seqs, k_heads, slots):
    node = delta(bench, gate=gate, slots=slots, q_heads=q_heads, q_seqs=q_seqs, k_heads=k_heads)
    y, states = expected_delta(bench, node)
    assert_close(bench.run(node), np.concatenate([y, *states[::-1][:slots]]), NMSE)


def test_gated_delta_net_leaves_slots_alone_that_are_older_than_the_first_token(
    bench, assert_close
):
    node = delta(bench, slots=5)
    node.buffer.view(np.float32)[:] = 7.0
    y, states = expected_delta(bench, node)
    found = bench.run(node)[0, 0]
    assert_close(found[: 6 + 18], np.concatenate([y, *states[::-1]]), NMSE)
    assert (found[24:] == 7.0).all()


NE_RULE = "[S * H, (tokens + slots * S) * sequences, 1, 1], src[2].ne [S, H, tokens, sequences]"
DELTA_REFUSALS = [
    ({0: 0}, {}, "slots is 0, expected at least 1"),
    ({0: 2}, {}, f"ne is [12, 12, 1, 1], expected {NE_RULE}"),
    ({0: 2**31 - 1}, {}, f"ne is [12, 12, 1, 1], expected {NE_RULE}"),
    (
        {}, {0: (4, 2, 3, 2)},
        "src[0].ne is [4, 2, 3, 2], expected [src[2].ne[0], any, src[2].ne[2], a divisor of src[2].ne[3]]",
    ),
    (
        {}, {1: (3, 4, 3, 3)},
        "src[1].ne is [3, 4, 3, 3], expected [src[2].ne[0], any, src[2].ne[2], a divisor of src[2].ne[3]]",
    ),
    (
        {}, {3: (2, 4, 3, 2)},
        "src[3].ne is [2, 4, 3, 2], expected [1 or src[2].ne[0], src[2].ne[1], src[2].ne[2], src[2].ne[3]]",
    ),
    (
        {}, {4: (1, 4, 3, 1)},
        "src[4].ne is [1, 4, 3, 1], expected [1, src[2].ne[1], src[2].ne[2], src[2].ne[3]]",
    ),
    (
        {}, {5: (3, 3, 4, 1)},
        "src[5].ne is [3, 3, 4, 1], expected [src[2].ne[0], src[2].ne[0], src[2].ne[1], src[2].ne[3]]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("params", "change", "sentence"), DELTA_REFUSALS)
def test_gated_delta_net_refusals(bench, params, change, sentence):
    shapes = [(3, 2, 3, 2), (3, 4, 3, 1), (3, 4, 3, 2), (1, 4, 3, 2), (1, 4, 3, 2), (3, 3, 4, 2)]
    sources = [bench.tensor("F32", *change.get(i, ne)) for i, ne in enumerate(shapes)]
    node = bench.node("GATED_DELTA_NET", "F32", (12, 12), *sources, params={0: 1} | params)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [GATED_DELTA_NET 'y']"
