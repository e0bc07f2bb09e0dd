"""Products, attention, rotation and rows, evaluated in double from their definitions; see elements.py."""

from __future__ import annotations

import math

import numpy as np
from oracle.elements import slopes


def mul_mat(node, a, b):
    y = np.zeros(node.shape)
    for i3, i2 in np.ndindex(b.shape[:2]):
        x = a[i3 // (b.shape[0] // a.shape[0]), i2 // (b.shape[1] // a.shape[1])]
        y[i3, i2] = b[i3, i2] @ x.T
    return y


def mul_mat_id(node, a, b, ids):
    y = np.zeros(node.shape)
    for t, j in np.ndindex(ids.shape[2:]):
        y[0, t, j] = a[0, ids[0, 0, t, j]] @ b[0, t, j % b.shape[2]]
    return y


def out_prod(node, a, b):
    y = np.zeros(node.shape)
    for i3, i2 in np.ndindex(b.shape[:2]):
        x = a[i3 // (b.shape[0] // a.shape[0]), i2 // (b.shape[1] // a.shape[1])]
        y[i3, i2] = b[i3, i2].T @ x
    return y


def flash_attn_ext(node, q, k, v, mask=None, sinks=None):
    """A key whose mask is -inf is not looked at; a row without keys is 0."""
    scale, max_bias, cap = (node.f32(slot) for slot in range(3))
    slope = slopes(q.shape[1], max_bias)
    y = np.zeros(node.shape)
    for n, h, t in np.ndindex(q.shape[:3]):
        keys, values = (
            x[n // (q.shape[0] // x.shape[0]), h // (q.shape[1] // x.shape[1])] for x in (k, v)
        )
        score = keys @ q[n, h, t] * scale
        if cap:
            score = cap * np.tanh(score / cap)
        seen = np.ones(len(score), bool)
        if mask is not None:
            bias = mask[n % mask.shape[0], h % mask.shape[1], t, : len(score)]
            seen = ~np.isneginf(bias)
            score = score + slope[h] * bias
        score = score[seen]
        every = score if sinks is None else np.append(score, sinks[0, 0, 0, h])
        if len(every):
            e = np.exp(every - every.max())
            y[n, t, h] = (e / e.sum())[: len(score)] @ values[seen]
    return y


def flash_attn_back(node, q, k, v, gradient):
    """Derivatives of softmax(q k^T / sqrt(D)) v; v is transposed."""
    tokens, size = q.shape[2:]
    heads_k, n_kv = k.shape[1:3]
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for n, h, t in np.ndindex(q.shape[:3]):
        hk = h % heads_k
        seen = n_kv - tokens + t + 1 if node.i32(0) else n_kv
        score = k[n, hk, :seen] @ q[n, h, t] / math.sqrt(size)
        p = np.exp(score - score.max())
        p /= p.sum()
        dp = gradient[n, h, t] @ v[n, hk][:, :seen]
        ds = p * (dp - (p * dp).sum()) / math.sqrt(size)
        dq[n, h, t] = ds @ k[n, hk, :seen]
        dk[n, hk, :seen] += np.outer(ds, q[n, h, t])
        dv[n, hk][:, :seen] += np.outer(gradient[n, h, t], p)
    return np.concatenate(_padded(dq, dk, dv)).reshape(node.shape)


def _padded(*arrays):
    """Each array flat, with zeros up to a multiple of four elements."""
    return [np.append(x.reshape(-1), np.zeros(-x.size % 4)) for x in arrays]


NORMAL, MROPE, VISION, IMROPE = 0, 8, 24, 40


def _axis_and_power(mode, pair, sections):
    """Which position turns a pair, and the power of its frequency."""
    if not mode & 8:
        return 0, pair
    sector = pair % sum(sections)
    if mode == IMROPE:
        axis = sector % 3
        return (axis if sector < 3 * sections[axis] else 3), pair
    ends = np.cumsum(sections)
    axis = int(np.searchsorted(ends, sector, side="right"))
    return axis, (sector - int(ends[axis - 1] if axis else 0) if mode == VISION else pair)


def rope(sign):
    """ROPE (1) and ROPE_BACK (-1)."""

    def evaluate(node, x, positions, factors=None):
        n_dims, mode, n_ctx = node.i32(1), node.i32(2), node.i32(4)
        base, scale, ext, attn, fast, slow = (node.f32(slot) for slot in range(5, 11))
        sections, skip = [node.i32(slot) for slot in range(11, 15)], node.i32(15)
        n_pairs = n_dims if mode == VISION else n_dims // 2
        y = x.copy()
        for token in range(x.shape[1]):
            for pair in range(n_pairs):
                axis, power = _axis_and_power(mode, pair, sections)
                theta = positions[0, 0, 0, axis * x.shape[1] + token] * base ** (
                    -2 * power / n_dims
                )
                if factors is not None:
                    theta /= factors[0, 0, 0, pair]
                angle, magnitude = theta * scale, attn
                if ext:
                    turns = [
                        n_dims * math.log(n_ctx / (b * 2 * math.pi)) / (2 * math.log(base))
                        for b in (fast, slow)
                    ]
                    low, high = max(0, math.floor(turns[0])), min(n_dims - 1, math.ceil(turns[1]))
                    ramp = (pair - low) / max(0.001, high - low)
                    mix = (1 - min(1.0, max(0.0, ramp))) * ext
                    angle = angle * (1 - mix) + theta * mix
                    magnitude *= 1 + 0.1 * math.log(1 / scale)
                c, s = math.cos(angle) * magnitude, sign * math.sin(angle) * magnitude
                i, j = (2 * pair, 2 * pair + 1) if mode == NORMAL else (pair, pair + n_pairs)
                u, v = x[:, token, :, skip + i], x[:, token, :, skip + j]
                y[:, token, :, skip + i], y[:, token, :, skip + j] = u * c - v * s, u * s + v * c
        return y

    return evaluate


def get_rows(node, a, ids):
    y = np.zeros(node.shape, a.dtype)
    for i3, i2, j in np.ndindex(node.shape[:3]):
        y[i3, i2, j] = a[i3, i2, ids[0, i3, i2, j]]
    return y


def set_rows(node, values, ids, old):
    y = old.copy()
    for i3, i2, j in np.ndindex(values.shape[:3]):
        y[i3, i2, ids[0, i3 % ids.shape[1], i2 % ids.shape[2], j]] = values[i3, i2, j]
    return y


def get_rows_back(node, gradient, ids):
    y = np.zeros(node.shape)
    for j, row in enumerate(ids.reshape(-1)):
        y[0, 0, row] += gradient[0, 0, j]
    return y
