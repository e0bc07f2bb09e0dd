"""Ops on single elements and on rows, evaluated in double from their definitions.

A function takes (node, *sources): sources are float64 (ids int64) arrays in NumPy order, None where absent; it returns
the elements of the node. Written apart from ggmlrpc_core.ops, from which nothing is used.
"""

from __future__ import annotations

import math

import numpy as np

F32_LOWEST = float(np.finfo(np.float32).min)
erf = np.vectorize(math.erf, otypes=[float])


def tiled(b, a):
    """b repeated to the shape of a."""
    return np.tile(b, [n // m for n, m in zip(a.shape, b.shape)])


def add(node, a, b):
    return a + tiled(b, a)


def sub(node, a, b):
    return a - tiled(b, a)


def mul(node, a, b):
    return a * tiled(b, a)


def div(node, a, b):
    return a / tiled(b, a)


def add_id(node, a, b, ids):
    y = a.copy()
    for t, used in np.ndindex(a.shape[1:3]):
        y[0, t, used] += b[0, 0, ids[0, 0, t, used]]
    return y


def window(node, a, b, add):
    """SET and ACC: b laid over a by byte strides 0 to 2 and byte offset 3."""
    size = node.type.type_size
    strides = [1, *(node.i32(slot) // size for slot in range(3))]
    flat = a.reshape(-1).copy()
    for i3, i2, i1, i0 in np.ndindex(b.shape):
        at = node.i32(3) // size + i0 + i1 * strides[1] + i2 * strides[2] + i3 * strides[3]
        flat[at] = b[i3, i2, i1, i0] + (flat[at] if add else 0)
    return flat.reshape(a.shape)


def copy(node, a, *unused):
    return a.reshape(node.shape)


def clamp(node, a):
    """NaN, which is not below the upper bound, becomes it."""
    low, high = node.f32(0), node.f32(1)
    below = np.where(a < high, a, high)
    return np.where(below > low, below, low)


def sigmoid(x):
    return np.where(
        x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))
    )


def silu(x):
    return np.where(np.isneginf(x), np.nan, x * sigmoid(x))


def gelu(x):
    y = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return np.where(np.isneginf(x), 0, y)


def hardsigmoid(x):
    """min(1, max(0, (x + 3) / 6)), where a NaN is dropped as by fmin and fmax."""
    return np.fmin(1.0, np.fmax(0.0, (x + 3) / 6))


UNARY = {
    "ABS": np.abs,
    "SGN": lambda x: np.where(x > 0, 1.0, np.where(x < 0, -1.0, 0.0)),
    "NEG": lambda x: -x,
    "STEP": lambda x: np.where(x > 0, 1.0, 0.0),
    "TANH": np.tanh,
    "ELU": lambda x: np.where(x > 0, x, np.expm1(x)),
    "RELU": lambda x: np.where(x > 0, x, 0.0),
    "SIGMOID": lambda x: np.where(np.isnan(x), np.nan, sigmoid(x)),
    "GELU": gelu,
    "GELU_QUICK": lambda x: x * sigmoid(1.702 * x),
    "SILU": silu,
    "HARDSWISH": lambda x: x * hardsigmoid(x),
    "HARDSIGMOID": hardsigmoid,
    "EXP": np.exp,
    "EXPM1": np.expm1,
    "SOFTPLUS": lambda x: np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20)))),
    "GELU_ERF": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "ROUND": lambda x: np.trunc(x + np.copysign(0.5, x)),
    "TRUNC": np.trunc,
}
"""By name; XIELU has parameters."""


def unary(names):
    """UNARY with the function numbers of `names` (number to name)."""

    def evaluate(node, x):
        name = names[node.i32(0)]
        if name != "XIELU":
            return UNARY[name](x)
        alpha_n, alpha_p, beta, eps = (node.f32(slot) for slot in (1, 2, 3, 4))
        low = (np.expm1(np.where(x < eps, x, eps)) - x) * alpha_n + beta * x
        return np.where(x > 0, alpha_p * x * x + beta * x, low)

    return evaluate


def glu(names):
    """GLU with the function numbers of `names`."""
    gates = {
        "REGLU": UNARY["RELU"], "GEGLU": gelu, "SWIGLU": silu, "GEGLU_ERF": UNARY["GELU_ERF"],
        "GEGLU_QUICK": UNARY["GELU_QUICK"],
    }  # fmt: skip

    def evaluate(node, a, b=None):
        n = node.ne[0]
        gate, up = (a, b) if b is not None else (a[..., :n], a[..., n:])
        if b is None and node.i32(1):
            gate, up = up, gate
        name = names[node.i32(0)]
        if name in gates:
            return gates[name](gate) * up
        alpha, limit = node.f32(2), node.f32(3)
        gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
        if name == "SWIGLU_OAI":
            return gate * sigmoid(alpha * gate) * (up + 1)
        return silu(gate) * up

    return evaluate


def mean_of_squares(x):
    return (x * x).mean(axis=-1, keepdims=True)


def norm(node, x):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(mean_of_squares(x) + node.f32(0))


def rms_norm(node, x):
    return x / np.sqrt(mean_of_squares(x) + node.f32(0))


def l2_norm(node, x):
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return x / np.where(length > node.f32(0), length, node.f32(0))


def group_norm(node, x):
    y = np.zeros_like(x)
    each = -(-x.shape[1] // node.i32(0))
    for n in range(x.shape[0]):
        for start in range(0, x.shape[1], each):
            part = x[n, start : start + each]
            part = part - part.mean()
            y[n, start : start + each] = part / np.sqrt((part * part).mean() + node.f32(1))
    return y


def slopes(heads, max_bias):
    """Factor of the mask for each head."""
    if not max_bias > 0:
        return np.ones(heads)
    p = 2 ** math.floor(math.log2(heads))
    return np.array(
        [
            2 ** (-max_bias * (h + 1) / p if h < p else -max_bias / 2 * (2 * (h - p) + 1) / p)
            for h in range(heads)
        ]
    )


def soft_max(node, a, mask=None, sinks=None):
    y = np.empty_like(a)
    slope = slopes(a.shape[1], node.f32(1))
    for n, h, r in np.ndindex(a.shape[:3]):
        x = a[n, h, r] * node.f32(0)
        if mask is not None:
            x = x + slope[h] * mask[n % mask.shape[0], h % mask.shape[1], r]
        every = x if sinks is None else np.append(x, sinks[0, 0, 0, h])
        e = np.exp(every - every.max())
        y[n, h, r] = (e / e.sum())[: len(x)]
    return y


def order(node, a):
    """ARGSORT of distinct keys."""
    return np.argsort(a if node.i32(0) == 0 else -a, axis=-1)


def argmax(node, a):
    """The last of the largest; a NaN starts the search anew."""
    y = np.zeros(node.shape, np.int64)
    for r, row in enumerate(a[0, 0]):
        best = -np.inf
        for i, value in enumerate(row):
            best = best if best > value else value
            if best == value:
                y[0, 0, 0, r] = i
    return y


def pad(node, a):
    y = np.zeros(node.shape)
    for place in np.ndindex(y.shape):
        at = [i - node.i32(6 - 2 * axis) for axis, i in enumerate(place)]
        if node.i32(8):
            y[place] = a[tuple(i % n for i, n in zip(at, a.shape))]
        elif all(0 <= i < n for i, n in zip(at, a.shape)):
            y[place] = a[tuple(at)]
    return y


def pad_reflect_1d(node, a):
    return np.pad(a, [(0, 0)] * 3 + [(node.i32(0), node.i32(1))], mode="reflect")


def repeat_back(node, a):
    y = np.zeros(node.shape)
    for place in np.ndindex(a.shape):
        y[tuple(i % n for i, n in zip(place, y.shape))] += a[place]
    return y


def diag(node, a):
    return a * np.eye(a.shape[3])


def triangle(node, a):
    row, column = np.indices(a.shape[2:])
    keep = (column >= row, column > row, column <= row, column < row)[node.i32(0)]
    return np.where(keep, a, 0)


def masked(value):
    """DIAG_MASK_INF and DIAG_MASK_ZERO."""

    def evaluate(node, a):
        row, column = np.indices(a.shape[2:])
        return np.where(column > row + node.i32(0), value, a)

    return evaluate


def timestep_embedding(node, a):
    dim, y = node.i32(0), np.zeros(node.shape)
    half = dim // 2
    for t, j in np.ndindex(a.shape[3], half):
        angle = a[0, 0, 0, t] * math.exp(-math.log(node.i32(1)) * j / half)
        y[0, 0, t, j], y[0, 0, t, half + j] = math.cos(angle), math.sin(angle)
    return y


def arange(node):
    return (node.f32(0) + node.f32(2) * np.arange(node.ne[0])).reshape(node.shape)
