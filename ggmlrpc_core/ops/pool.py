"""Pooling: POOL_1D, POOL_2D, POOL_2D_BACK. A window covers only the elements that are there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, i32, op, source
from ggmlrpc_core.ops.taps import Span, at_least_one, patches, sizes_in_range, spread
from ggmlrpc_core.ops.values import constant, floats

MAX, AVERAGE = 0, 1

LOWEST = float(np.finfo(np.float32).min)
"""The maximum of a window that covers nothing."""


def _pool_extent(size: Any, k: Any, *, stride: Any, pad: Any) -> np.ndarray:
    """How many places a window has; counted in f32 and cut, as upstream counts."""
    size, k, stride, pad = (np.asarray(v, np.float32) for v in (size, k, stride, pad))
    return np.trunc((size + 2 * pad - k) / stride + 1)


def _check_kind(c: Nodes) -> None:
    kind = c.i32(0)
    c.require((kind == MAX) | (kind == AVERAGE), "kind", kind, "0 (maximum) or 1 (average)")


def _check_pool_1d(c: Nodes) -> None:
    _check_kind(c)
    at_least_one(c, 1, "k")
    at_least_one(c, 2, "stride")
    sizes_in_range(c, 0)
    a = c.src(0)
    extent = _pool_extent(a.ne[:, 0], c.i32(1), stride=c.i32(2), pad=c.i32(3))
    ok = (c.ne[:, 0] == extent) & (c.ne[:, 1:] == a.ne[:, 1:]).all(axis=1)
    rule = "[(src[0].ne[0] + 2 * pad - k) / stride + 1, src[0].ne[1], src[0].ne[2], src[0].ne[3]]"
    c.require(ok, "ne", c.ne, rule)


@op(
    "POOL_1D",
    sources=[source("a", *FLOATS)],
    result="F32",
    params=[i32(0, "kind"), i32(1, "k"), i32(2, "stride"), i32(3, "pad")],
    check=_check_pool_1d,
    precision="sums in f32; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_pool_1d_ksp",
)
def pool_1d(xp: Any, node: Tensor, a: Any, *, kind: int, k: int, stride: int, pad: int) -> Any:
    """Maximum or average over windows of each row; the average counts only elements that are there.

    A window that covers nothing gives the lowest f32, or 0.
    """
    x = floats(xp, a, node.src[0])
    span = Span(3, k, node.ne[0], stride, pad)
    if kind == MAX:
        return _maximum(xp, x, [span], node)
    count = sum(span.met(tap, x.shape[3])[1].astype(np.float32) for tap in span.useful(x.shape[3]))
    return _sum(xp, x, [span], node) / constant(xp, np.maximum(count, 1), np.float32)


def _maximum(xp: Any, x: Any, spans: list[Span], node: Tensor) -> Any:
    """The largest element that each window covers."""
    total = xp.full(node.shape, LOWEST, dtype=xp.float32)
    for _, part in patches(xp, x, spans, fill=LOWEST):
        total = xp.maximum(total, part)
    return total


def _sum(xp: Any, x: Any, spans: list[Span], node: Tensor) -> Any:
    """The sum of what each window covers."""
    total = xp.zeros(node.shape, dtype=xp.float32)
    for _, part in patches(xp, x, spans):
        total = total + part
    return total


PARAMS_2D = [
    i32(0, "kind"), i32(1, "k0"), i32(2, "k1"), i32(3, "s0"), i32(4, "s1"), i32(5, "p0"), i32(6, "p1"),
]  # fmt: skip


def _check_windows(c: Nodes, size: np.ndarray, places: np.ndarray) -> np.ndarray:
    """bool [n]: extents 0 and 1 of the places fit the parameters. The paddings were floats once."""
    _check_kind(c)
    for slot, name in ((1, "k0"), (2, "k1"), (3, "s0"), (4, "s1")):
        at_least_one(c, slot, name)
    ok = np.ones(len(c.rows), bool)
    for d in (0, 1):
        k, stride, pad = c.i32(1 + d), c.i32(3 + d), c.i32(5 + d)
        # A fraction of the padding counted when the client chose the extent, and was cut off on the wire.
        low = _pool_extent(size[:, d], k, stride=stride, pad=np.where(pad <= 0, pad - 1, pad))
        high = _pool_extent(size[:, d], k, stride=stride, pad=np.where(pad >= 0, pad + 1, pad))
        ok &= (places[:, d] >= low) & (places[:, d] <= high)
    return ok


def _check_pool_2d(c: Nodes) -> None:
    a = c.src(0)
    sizes_in_range(c, 0)
    ok = _check_windows(c, a.ne, c.ne) & (c.ne[:, 2:] == a.ne[:, 2:]).all(axis=1)
    rule = "(src[0].ne[d] + 2 * pad - k) / stride + 1 for d of 0 and 1, then src[0].ne[2] and ne[3]"
    c.require(ok, "ne", c.ne, rule)


def _spans(
    n_out: tuple[int, ...], k: tuple[int, int], s: tuple[int, int], p: tuple[int, int]
) -> list[Span]:
    """Rows, then columns, of windows over [n, channels, h, w]; arguments in ne order."""
    return [Span(2, k[1], n_out[1], s[1], p[1]), Span(3, k[0], n_out[0], s[0], p[0])]  # fmt: skip


@op(
    "POOL_2D",
    sources=[source("a", *FLOATS)],
    result="F32",
    params=PARAMS_2D,
    check=_check_pool_2d,
    precision="sums in f32; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_pool_2d",
)
def pool_2d(
    xp: Any, node: Tensor, a: Any, *, kind: int, k0: int, k1: int, s0: int, s1: int, p0: int, p1: int
) -> Any:  # fmt: skip
    """Maximum or average over windows of dimensions 0 and 1; the average always divides by k0 * k1.

    A window that covers nothing gives the lowest f32, or 0.
    """
    x = floats(xp, a, node.src[0])
    spans = _spans(node.ne, (k0, k1), (s0, s1), (p0, p1))
    if kind == MAX:
        return _maximum(xp, x, spans, node)
    return _sum(xp, x, spans, node) / float(k0 * k1)


def _check_pool_2d_back(c: Nodes) -> None:
    g, x = c.src(0), c.src(1)
    sizes_in_range(c, 0, 1)
    c.require((c.ne == x.ne).all(axis=1), "ne", c.ne, "src[1].ne")
    ok = _check_windows(c, x.ne, g.ne) & (g.ne[:, 2:] == x.ne[:, 2:]).all(axis=1)
    rule = "(src[1].ne[d] + 2 * pad - k) / stride + 1 for d of 0 and 1, then src[1].ne[2] and ne[3]"
    c.require(ok, "src[0].ne", g.ne, rule)


@op(
    "POOL_2D_BACK",
    sources=[source("gradient", *FLOATS), source("a", *FLOATS)],
    result=("F32", "F16"),
    params=PARAMS_2D,
    check=_check_pool_2d_back,
    precision="sums in f32; nmse <= 1e-7",
    since="2024-08-22",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_pool_2d_back",
)
def pool_2d_back(
    xp: Any, node: Tensor, gradient: Any, a: Any, *, kind: int, k0: int, k1: int, s0: int, s1: int,
    p0: int, p1: int,
) -> Any:  # fmt: skip
    """The gradient of POOL_2D: to the first largest element of each window, or in equal parts to all k0 * k1.

    gradient: as the result of POOL_2D; a: what was pooled; result as a.
    """
    g = floats(xp, gradient, node.src[0])
    x = floats(xp, a, node.src[1])
    spans = _spans(g.shape[::-1], (k0, k1), (s0, s1), (p0, p1))
    total = xp.zeros(x.shape, dtype=xp.float32)
    if kind == MAX:
        best = xp.full(g.shape, LOWEST, dtype=xp.float32)
        winner = xp.full(g.shape, -1, dtype=xp.int32)
        found: list[tuple[int, ...]] = []
        for taps, part in patches(xp, x, spans, fill=LOWEST):
            better = part > best
            best = xp.where(better, part, best)
            winner = xp.where(better, len(found), winner)
            found.append(taps)
        parts = ((taps, xp.where(winner == n, g, 0.0)) for n, taps in enumerate(found))
    else:
        share = g / float(k0 * k1)
        rows, columns = (span.useful(x.shape[span.axis]) for span in spans)
        parts = (((ky, kx), share) for ky in rows for kx in columns)
    for (ky, kx), part in parts:
        line = spread(xp, part, spans[1], kx, x.shape[3])
        total = total + spread(xp, line, spans[0], ky, x.shape[2])
    return total
