"""UPSCALE: images resampled to other extents, larger or smaller."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, i32, op, source
from ggmlrpc_core.ops.taps import sizes_in_range
from ggmlrpc_core.ops.values import constant, floats

NEAREST, BILINEAR, BICUBIC = 0, 1, 2
ALIGN_CORNERS, ANTIALIAS = 256, 512

CUBIC = np.float32(-0.75)
"""Sharpness of the bicubic kernel."""

Weights = list[tuple[np.ndarray, np.ndarray]]
"""What to sum along an axis: (index, f32 weight) of each output place, one pair for each tap."""


def _check_upscale(c: Nodes) -> None:
    sizes_in_range(c, 0)
    mode = c.i32(0)
    known = (mode & ~(0xFF | ALIGN_CORNERS | ANTIALIAS)) == 0
    known &= (mode & 0xFF) <= BICUBIC
    known &= ((mode & ANTIALIAS) == 0) | ((mode & 0xFF) == BILINEAR)
    rule = "0, 1 or 2, with 256 for aligned corners, and 512 for antialiasing of mode 1 only"
    c.require(known, "mode", mode, rule)


@op(
    "UPSCALE",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[i32(0, "mode")],
    check=_check_upscale,
    precision="places and weights in f32; nmse <= 1e-7, above where a place falls on the edge of two elements",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_upscale_f32",
)
def upscale(xp: Any, node: Tensor, a: Any, *, mode: int) -> Any:
    """Resample a to the extents of the node.

    mode: 0 nearest, 1 bilinear, 2 bicubic; dimensions 2 and 3 are always nearest. 256 maps the first and last element
    of dimensions 0 and 1 onto each other; 512 widens the bilinear window when an image becomes smaller.
    """
    x = floats(xp, a, node.src[0])
    kind, corners = mode & 0xFF, bool(mode & ALIGN_CORNERS)
    for axis in range(4):
        size, n_out = x.shape[axis], node.shape[axis]
        scale = np.float32(n_out) / np.float32(size)
        if axis >= 2 and corners and n_out > 1 and size > 1:
            scale = np.float32(n_out - 1) / np.float32(size - 1)
        if axis < 2 or kind == NEAREST:
            nearest = (np.arange(n_out, dtype=np.float32) / scale).astype(np.int64)
            if not np.array_equal(nearest, np.arange(size)):
                index = constant(xp, np.minimum(nearest, size - 1), np.int32)
                x = xp.take(x, index, axis=axis)
            continue
        offset = np.float32(0.0 if corners else 0.5)
        at = (np.arange(n_out, dtype=np.float32) + offset) / scale
        if kind == BICUBIC:
            weights = _bicubic(at - offset)
        elif mode & ANTIALIAS:
            weights = _antialiased(at, scale, offset, size=size)
        else:
            weights = _bilinear(at - offset, size)
        x = _resample(xp, x, axis, weights)
    return x


def _resample(xp: Any, x: Any, axis: int, weights: Weights) -> Any:
    """Weighted sums along an axis; indices are clamped into it."""
    shape = [1] * 4
    shape[axis] = -1
    total = None
    for at, weight in weights:
        index = constant(xp, np.clip(at, 0, x.shape[axis] - 1), np.int32)
        part = xp.take(x, index, axis=axis) * constant(xp, weight.reshape(shape), np.float32)
        total = part if total is None else total + part
    return total


def _bilinear(at: np.ndarray, size: int) -> Weights:
    """The two elements around each place."""
    low = np.floor(at).astype(np.int64)
    share = np.clip(at - np.clip(low, 0, size - 1).astype(np.float32), 0.0, 1.0)
    return [(low, 1 - share), (low + 1, share)]


def _bicubic(at: np.ndarray) -> Weights:
    """The four elements around each place, by cubic convolution."""
    low = np.floor(at).astype(np.int64)
    x = at - low.astype(np.float32)

    def near(t: np.ndarray) -> np.ndarray:
        return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1

    def far(t: np.ndarray) -> np.ndarray:
        return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC

    return [(low - 1, far(x + 1)), (low, near(x)), (low + 1, near(1 - x)), (low + 2, far(2 - x))]


def _antialiased(at: np.ndarray, scale: np.float32, offset: np.float32, *, size: int) -> Weights:
    """Every element under a triangle as wide as one output place, at least one element."""
    support = np.maximum(np.float32(1.0), np.float32(1.0) / scale)
    start = np.maximum((at - support + offset).astype(np.int64), 0)
    stop = np.minimum((at + support + offset).astype(np.int64), size)
    taps: Weights = []
    total = np.zeros(len(at), np.float32)
    for j in range(max(int((stop - start).max()), 1)):
        element = start + j
        distance = np.abs((element.astype(np.float32) - at + offset) / support)
        weight = np.where(element < stop, np.maximum(1 - distance, 0), 0).astype(np.float32)
        total = total + weight
        taps.append((element, weight))
    safe = np.where(total > 0, total, 1)
    return [(element, weight / safe) for element, weight in taps]
