"""State space models, linear attention, triangular systems and training, evaluated in double; see elements.py.

NaN in a result stands for an element that the op leaves as it was in memory.
"""

from __future__ import annotations

import math

import numpy as np
from oracle.elements import sigmoid


def ssm_conv(node, x, weights):
    y = np.zeros(node.shape)
    for s, t, c in np.ndindex(y.shape[1:]):
        y[0, s, t, c] = (x[0, s, c, t : t + weights.shape[3]] * weights[0, 0, c]).sum()
    return y


def ssm_scan(node, state, x, dt, a, b, c, ids):
    seqs, tokens, heads, _ = x.shape
    slots = max(node.i32(0), 1)
    y = np.zeros_like(x)
    kept = np.full((slots, seqs, *state.shape[1:]), np.nan)
    for s in range(seqs):
        now = state[ids[0, 0, 0, s]].copy()
        for t in range(tokens):
            for h in range(heads):
                group = h // (heads // b.shape[2])
                d = math.log1p(math.exp(dt[0, s, t, h]))
                now[h] = now[h] * np.exp(d * a[0, 0, h]) + np.outer(x[s, t, h], b[s, t, group]) * d
                y[s, t, h] = now[h] @ c[s, t, group]
            if tokens - 1 - t < slots:
                kept[tokens - 1 - t, s] = now
    return np.append(y, kept).reshape(node.shape)


def _sequences(node, inputs, state, step):
    """Run `step(state [S, S], inputs of one head and token) -> (y, state)` over tokens and heads."""
    _, tokens, heads, size = inputs[0].shape
    seqs = state.shape[2]
    s = state.reshape(seqs, heads, size, size).copy()
    y = np.zeros((tokens, heads, size))
    for t, h in np.ndindex(tokens, heads):
        at = t // (tokens // seqs), h
        y[t, h], s[at] = step(s[at], h, *(x[0, t, h] for x in inputs))
    return np.append(y, s).reshape(node.shape)


def rwkv_wkv6(node, k, v, r, first, decay, state):
    bonus = first.reshape(k.shape[2], -1)

    def step(s, h, k, v, r, decay):
        kv = np.outer(k, v)
        return r @ (bonus[h][:, None] * kv + s), s * decay[:, None] + kv

    return _sequences(node, (k, v, r, decay), state, step)


def gated_linear_attn(node, k, v, q, gate, state):
    def step(s, h, k, v, q, gate):
        s = s * gate[:, None] + np.outer(k, v)
        return q @ s * node.f32(0), s

    return _sequences(node, (k, v, q, gate), state, step)


def rwkv_wkv7(node, r, decay, k, v, a, b, state):
    def step(s, h, r, decay, k, v, a, b):
        s = s * decay[None] + np.outer(v, k) + np.outer(s @ a, b)
        return s @ r, s

    return _sequences(node, (r, decay, k, v, a, b), state, step)


def gated_delta_net(node, q, k, v, gate, beta, state):
    seqs, tokens, heads, size = v.shape
    slots = node.i32(0)
    y = np.zeros_like(v)
    kept = np.full((slots, *state.shape), np.nan)
    for s, h in np.ndindex(seqs, heads):
        now = state[s, h].copy()
        shared = s // (seqs // q.shape[0])
        for t in range(tokens):
            query, key = (
                q[shared, t, h % q.shape[2]],
                k[s // (seqs // k.shape[0]), t, h % k.shape[2]],
            )
            now = now * np.exp(gate[s, t, h])[None]
            now = now + np.outer(beta[s, t, h] * (v[s, t, h] - now @ key), key)
            y[s, t, h] = now @ query / math.sqrt(size)
            if tokens - 1 - t < slots:
                kept[tokens - 1 - t, s, h] = now
    return np.append(y, kept).reshape(node.shape)


def solve_tri(node, a, b):
    return np.linalg.solve(np.tril(a), b)


def lightning_indexer(node, q, k, weights, mask):
    y = np.zeros(node.shape)
    for s, t in np.ndindex(q.shape[:2]):
        dots = k[s, :, 0] @ q[s, t].T
        y[s, 0, t] = np.where(dots > 0, dots, 0) @ weights[s, 0, t] + mask[s % mask.shape[0], 0, t]
    return y


def hc_comb(node, mixes, scale, base):
    eps, y = node.f32(0), np.zeros(node.shape)
    for t in range(mixes.shape[2]):
        v = (mixes[0, 0, t, 8:] * scale[0, 0, 0, 2] + base[0, 0, 0, 8:]).reshape(4, 4)
        v = np.exp(v - v.max(axis=1, keepdims=True))
        v = v / v.sum(axis=1, keepdims=True) + eps
        v = v / (v.sum(axis=0) + eps)
        for _ in range(node.i32(1) - 1):
            v = v / (v.sum(axis=1, keepdims=True) + eps)
            v = v / (v.sum(axis=0) + eps)
        y[0, t] = v
    return y


def hc_pre(node, x, weights):
    w = sigmoid(weights) if node.i32(1) else weights[0, 0][None, :, :, None]
    return ((x * w).sum(axis=2) * node.f32(0)).reshape(node.shape)


def hc_post(node, x, residual, post, comb=None):
    y = x[0, 0][:, None] * post[0, 0][:, :, None]
    if comb is None:
        return (y + residual[0])[None]
    return (y + np.einsum("tsd,tsn->tdn", comb[0], residual[0]))[None]


def silu_back(node, gradient, x):
    s = sigmoid(x)
    return gradient * (s + x * s * (1 - s))


def rms_norm_back(node, gradient, x):
    mean = (x * x).mean(axis=-1, keepdims=True) + node.f32(0)
    inner = (x * gradient).mean(axis=-1, keepdims=True)
    return (gradient - x * inner / mean) / np.sqrt(mean)


def soft_max_back(node, gradient, y):
    return node.f32(0) * y * (gradient - (y * gradient).sum(axis=-1, keepdims=True))


def _soft(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def cross_entropy_loss(node, logits, labels):
    rows = logits.size // logits.shape[3]
    return (-(labels * np.log(_soft(logits))).sum() / rows).reshape(1, 1, 1, 1)


def cross_entropy_loss_back(node, gradient, logits, labels):
    return (_soft(logits) - labels) * gradient.item() / (logits.size // logits.shape[3])


def adamw(node, w, g, m, v, params):
    """{-1: the weights, 2 and 3: the moments}."""
    alpha, beta1, beta2, eps, decay, c1, c2 = params.reshape(-1)
    m = m * beta1 + g * (1 - beta1)
    v = v * beta2 + g * g * (1 - beta2)
    return {-1: w * (1 - alpha * decay) - alpha * m * c1 / (np.sqrt(v * c2) + eps), 2: m, 3: v}


def sgd(node, w, g, params):
    alpha, decay = params.reshape(-1)
    return w * (1 - alpha * decay) - alpha * g
