"""Convolutions, pooling, windows and resampling, evaluated in double one element at a time; see elements.py."""

from __future__ import annotations

import itertools
import math

import numpy as np
from oracle.elements import F32_LOWEST


def patch(x, at, size):
    """The element at a place of the last axes of x, 0 outside."""
    inside = all(0 <= i < n for i, n in zip(at, size))
    return x[(..., *at)] if inside else np.zeros(x.shape[: x.ndim - len(at)])


def places(out, kernel, *, stride, pad, dilation):
    """(output place, tap, input place) of a sliding window; axes in NumPy order, parameters in ne order."""
    s, p, d = stride[::-1], pad[::-1], dilation[::-1]
    for o in np.ndindex(*out):
        for t in np.ndindex(*kernel):
            yield o, t, tuple(o[i] * s[i] - p[i] + t[i] * d[i] for i in range(len(o)))


def _steps(node, n, first=0):
    """Stride, padding and dilation parameters of n dimensions."""
    read = [[node.i32(first + n * k + i) for i in range(n)] for k in range(3)]
    return dict(zip(("stride", "pad", "dilation"), read))


def conv_2d(node, kernel, x):
    y = np.zeros(node.shape)
    for o, t, i in places(y.shape[2:], kernel.shape[2:], **_steps(node, 2)):
        y[(..., *o)] += patch(x, i, x.shape[2:]) @ kernel[(..., *t)].T
    return y


def conv_2d_dw(node, kernel, x):
    y = np.zeros(node.shape)
    for o, t, i in places(y.shape[2:], kernel.shape[2:], **_steps(node, 2)):
        y[(..., *o)] += patch(x, i, x.shape[2:]) * kernel[(..., *t)][:, 0]
    return y


def conv_3d(node, kernel, x):
    channels, n, out = (node.i32(slot) for slot in (9, 10, 11))
    kernel = kernel.reshape(out, channels, *kernel.shape[1:])
    x = x.reshape(n, channels, *x.shape[1:])
    y = np.zeros((n, out, *node.shape[1:]))
    for o, t, i in places(y.shape[2:], kernel.shape[2:], **_steps(node, 3)):
        y[(..., *o)] += patch(x, i, x.shape[2:]) @ kernel[(..., *t)].T
    return y.reshape(node.shape)


def im2col(node, kernel, x):
    """Column order: channel, row, column."""
    if not node.i32(6):
        y = np.zeros((x.shape[1], node.ne[1], x.shape[2], kernel.shape[3]))
        for o, t, i in places(y.shape[1:2], kernel.shape[3:], **_one(node)):
            y[:, o[0], :, t[0]] = patch(x[0], i, x.shape[3:])
        return y.reshape(node.shape)
    y = np.zeros((*node.shape[:3], x.shape[1], *kernel.shape[2:]))
    for o, t, i in places(node.shape[1:3], kernel.shape[2:], **_steps(node, 2)):
        y[(slice(None), *o, slice(None), *t)] = patch(x, i, x.shape[2:])
    return y.reshape(node.shape)


def _one(node):
    return {"stride": [node.i32(0)], "pad": [node.i32(2)], "dilation": [node.i32(4)]}


def im2col_back(node, gradient, kernel):
    y = np.zeros(node.shape)
    if not node.i32(6):
        g = gradient[0].reshape(*gradient.shape[1:3], node.ne[1], kernel.shape[3])
        for o, t, i in places(g.shape[1:2], g.shape[3:], **_one(node)):
            if 0 <= i[0] < y.shape[3]:
                y[0, :, :, i[0]] += g[:, o[0], :, t[0]]
        return y
    g = gradient.reshape(*gradient.shape[:3], y.shape[1], *kernel.shape[2:])
    for o, t, i in places(g.shape[1:3], g.shape[4:], **_steps(node, 2)):
        if all(0 <= a < n for a, n in zip(i, y.shape[2:])):
            y[(..., *i)] += g[(slice(None), *o, slice(None), *t)]
    return y


def im2col_3d(node, kernel, x):
    channels = node.i32(9)
    x = x.reshape(-1, channels, *x.shape[1:])
    y = np.zeros((len(x), node.shape[0] // len(x), *node.shape[1:3], channels, *kernel.shape[1:]))
    for o, t, i in places(y.shape[1:4], kernel.shape[1:], **_steps(node, 3)):
        y[(slice(None), *o, slice(None), *t)] = patch(x, i, x.shape[2:])
    return y.reshape(node.shape)


def col2im_1d(node, columns):
    stride, channels, crop = (node.i32(slot) for slot in range(3))
    x = columns[0, 0].reshape(columns.shape[2], channels, -1)
    y = np.zeros(node.shape)
    for t, c, k in np.ndindex(x.shape):
        if 0 <= (at := t * stride + k - crop) < node.ne[0]:
            y[0, 0, c, at] += x[t, c, k]
    return y


def conv_transpose_1d(node, kernel, x):
    y = np.zeros(node.shape)
    for position, tap in itertools.product(range(x.shape[3]), range(kernel.shape[3])):
        y[0, 0, :, position * node.i32(0) + tap] += x[0, 0, :, position] @ kernel[0, :, :, tap]
    return y


def conv_transpose_2d(node, kernel, x):
    y, s = np.zeros(node.shape), node.i32(0)
    for (r, c), (kr, kc) in itertools.product(
        np.ndindex(x.shape[2:]), np.ndindex(kernel.shape[2:])
    ):
        y[:, :, r * s + kr, c * s + kc] += x[:, :, r, c] @ kernel[:, :, kr, kc]
    return y


def _pools(node, x, out):
    """(output place, slices of the input that it covers) of POOL_2D."""
    k, s, p = ([node.i32(f + i) for i in (1, 0)] for f in (1, 3, 5))
    for o in np.ndindex(*out):
        yield (
            o,
            tuple(
                slice(max(0, o[i] * s[i] - p[i]), max(0, min(n, o[i] * s[i] - p[i] + k[i])))
                for i, n in enumerate(x.shape[2:])
            ),
        )


def pool_1d(node, x):
    kind, k, s, p = (node.i32(slot) for slot in range(4))
    y = np.full(node.shape, 0.0 if kind else F32_LOWEST)
    for o in range(node.ne[0]):
        part = x[..., max(0, o * s - p) : max(0, o * s - p + k)]
        if part.shape[-1]:
            y[..., o] = part.mean(axis=-1) if kind else part.max(axis=-1)
    return y


def pool_2d(node, x):
    y = np.full(node.shape, 0.0 if node.i32(0) else F32_LOWEST)
    for o, covered in _pools(node, x, node.shape[2:]):
        part = x[(..., *covered)]
        if part.size:
            whole = node.i32(1) * node.i32(2)
            y[(..., *o)] = part.sum(axis=(2, 3)) / whole if node.i32(0) else part.max(axis=(2, 3))
    return y


def pool_2d_back(node, gradient, x):
    """To the first largest element in reading order, or in equal shares."""
    y = np.zeros(node.shape)
    for o, covered in _pools(node, x, gradient.shape[2:]):
        for n, c in np.ndindex(x.shape[:2]):
            part = x[(n, c, *covered)]
            if node.i32(0):
                y[(n, c, *covered)] += gradient[(n, c, *o)] / (node.i32(1) * node.i32(2))
            elif part.size:
                r, q = np.unravel_index(part.argmax(), part.shape)
                y[n, c, covered[0].start + r, covered[1].start + q] += gradient[(n, c, *o)]
    return y


def _cubic(t):
    """Cubic convolution with a = -0.75."""
    t, a = abs(t), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _taps(mode, o, n_out, size):
    """{input index: weight} of one output place along one dimension."""
    kind, corners = mode & 0xFF, bool(mode & 256)
    sides = (n_out - 1, size - 1) if corners and n_out > 1 and size > 1 else (n_out, size)
    if kind == 0:
        # In single precision, as places that fall on the edge of two elements are told apart.
        return {
            min(int(np.float32(o) / (np.float32(sides[0]) / np.float32(sides[1]))), size - 1): 1.0
        }
    scale = sides[0] / sides[1]
    half = 0.0 if corners else 0.5
    at = (o + half) / scale - half
    if mode & 512:
        reach = max(1.0, 1 / scale)
        low, high = max(0, int(at + half - reach + half)), min(size, int(at + half + reach + half))
        weights = {i: max(0.0, 1 - abs((i - at) / reach)) for i in range(low, high)}
        total = sum(weights.values()) or 1.0
        return {i: w / total for i, w in weights.items()}
    low = math.floor(at)
    if kind == 1:
        share = min(max(at - min(max(low, 0), size - 1), 0.0), 1.0)
        pairs = [(low, 1 - share), (low + 1, share)]
    else:
        pairs = [(low + i, _cubic(at - low - i)) for i in (-1, 0, 1, 2)]
    found: dict[int, float] = {}
    for i, w in pairs:
        i = min(max(i, 0), size - 1)
        found[i] = found.get(i, 0.0) + w
    return found


def upscale(node, x):
    for axis in range(4):
        mode = node.i32(0) if axis >= 2 else 0
        y = np.zeros([*x.shape[:axis], node.shape[axis], *x.shape[axis + 1 :]])
        for o in range(node.shape[axis]):
            for i, w in _taps(mode, o, node.shape[axis], x.shape[axis]).items():
                if w:
                    np.moveaxis(y, axis, 0)[o] += np.moveaxis(x, axis, 0)[i] * w
        x = y
    return x


def win_part(node, a):
    y, w = np.zeros(node.shape), node.i32(2)
    for r, c in np.ndindex(a.shape[1:3]):
        y[r // w * node.i32(0) + c // w, r % w, c % w] = a[0, r, c]
    return y


def win_unpart(node, a):
    y, w = np.zeros(node.shape), node.i32(0)
    across = -(-node.ne[1] // w)
    for r, c in np.ndindex(y.shape[1:3]):
        y[0, r, c] = a[r // w * across + c // w, r % w, c % w]
    return y


def get_rel_pos(node, a):
    y = np.zeros(node.shape)
    for i2, i1 in np.ndindex(y.shape[1:3]):
        y[0, i2, i1] = a[0, 0, node.ne[1] - 1 - i1 + i2]
    return y


def add_rel_pos(node, a, pw, ph):
    y, k, width = a.copy(), pw.shape[3], pw.shape[2]
    for n, place, key in np.ndindex(a.shape[1:]):
        at = (n, place // width, place % width)
        y[0, n, place, key] += ph[(*at, key // k)] + pw[(*at, key % k)]
    return y
