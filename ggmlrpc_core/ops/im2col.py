"""Convolution windows laid out as columns: IM2COL, IM2COL_3D, IM2COL_BACK, COL2IM_1D.

Shapes in ne order: KW, KH, KD kernel extents, IC and OC channels in and out, N images, OW, OH, OD places of the window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, i32, op, source
from ggmlrpc_core.ops.rules import divides, result_ne
from ggmlrpc_core.ops.taps import (
    Span,
    at_least_one,
    conv_extent,
    patches,
    sizes_in_range,
    spread,
)
from ggmlrpc_core.ops.values import encode, floats, present

PARAMS_2D = [
    i32(0, "s0"), i32(1, "s1"), i32(2, "p0"), i32(3, "p1"), i32(4, "d0"), i32(5, "d1"), i32(6, "is_2d"),
]  # fmt: skip


def _check_steps(c: Nodes) -> np.ndarray:
    """Strides and dilations are 1 or more where they count; bool [n]: the node is two-dimensional."""
    flag = c.i32(6)
    c.require((flag == 0) | (flag == 1), "is_2d", flag, "0 or 1")
    two = flag == 1
    at_least_one(c, 0, "s0")
    at_least_one(c, 4, "d0")
    c.require((c.i32(1) >= 1) | ~two, "s1", c.i32(1), "at least 1")
    c.require((c.i32(5) >= 1) | ~two, "d1", c.i32(5), "at least 1")
    return two


def _check_im2col(c: Nodes) -> None:
    two = _check_steps(c)
    sizes_in_range(c, 0, 1)
    k, x = c.src(0).ne, c.src(1).ne
    channels = np.where(two, x[:, 2], x[:, 1])
    c.require(
        np.where(two, k[:, 2], k[:, 1]) == channels, "src[0].ne", k, "as many channels as src[1]"
    )
    c.require(two | (x[:, 3] == 1), "src[1].ne[3]", x[:, 3], "1 when is_2d is 0")
    ow = conv_extent(x[:, 0], k[:, 0], stride=c.i32(0), pad=c.i32(2), dilation=c.i32(4))
    oh = conv_extent(x[:, 1], k[:, 1], stride=c.i32(1), pad=c.i32(3), dilation=c.i32(5))
    rows = k[:, 0] * k[:, 1] * np.where(two, k[:, 2], 1)
    result_ne(
        c,
        (rows, ow, np.where(two, oh, x[:, 2]), np.where(two, x[:, 3], 1)),
        "[IC * KW * KH, OW, OH, N], or [IC * KW, OW, N, 1] when is_2d is 0",
    )


@op(
    "IM2COL",
    sources=[source("kernel", *FLOATS), source("data", *FLOATS)],
    result=("F32", "F16"),
    params=PARAMS_2D,
    check=_check_im2col,
    precision="exact, or the rounding of the node's type",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_im2col",
)
def im2col(
    xp: Any, node: Tensor, kernel: Any, data: Any, *, s0: int, s1: int, p0: int, p1: int,
    d0: int, d1: int, is_2d: int,
) -> Any:  # fmt: skip
    """For each place of the window, the elements that it covers as one row; zeros outside of the data.

    kernel gives extents only: [KW, KH, IC, OC], data [W, H, IC, N]; result [IC * KH * KW, OW, OH, N], channel slowest
    in a row. When is_2d is 0, kernel is [KW, IC, OC], data [W, IC, N], result [IC * KW, OW, N].
    """
    x = encode(xp, floats(xp, data, node.src[1]), node.type)
    extents = present(node.src[0]).ne
    if not is_2d:
        x = x.reshape(x.shape[1], x.shape[2], 1, x.shape[3])
    n, channels = x.shape[:2]
    kh, oh = (extents[1], node.ne[2]) if is_2d else (1, 1)
    kw, ow = extents[0], node.ne[1]
    spans = [Span(3, kw, ow, s0, p0, d0)]
    if is_2d:
        spans.insert(0, Span(2, kh, oh, s1, p1, d1))
    return _columns(xp, x, spans, (n, channels, oh, ow)).reshape(node.shape)


def _columns(xp: Any, x: Any, spans: list[Span], covered: tuple[int, ...]) -> Any:
    """[n, places..., channels, taps...] from x [n, channels, ...]; `covered` is [n, channels, places...]."""
    n_taps = [span.n_taps for span in spans]
    found = dict(patches(xp, x, spans))
    nothing = None if len(found) == int(np.prod(n_taps)) else xp.zeros(covered, dtype=x.dtype)
    parts = [found.get(taps, nothing) for taps in np.ndindex(*n_taps)]
    stacked = xp.stack(parts, axis=-1)
    places = list(range(2, len(covered)))
    return xp.transpose(stacked, (0, *places, 1, len(covered)))


PARAMS_3D = [
    i32(0, "s0"), i32(1, "s1"), i32(2, "s2"), i32(3, "p0"), i32(4, "p1"), i32(5, "p2"),
    i32(6, "d0"), i32(7, "d1"), i32(8, "d2"),
]  # fmt: skip


def check_steps_3d(c: Nodes) -> None:
    """Strides and dilations of the three dimensions are 1 or more."""
    for d in range(3):
        at_least_one(c, d, f"s{d}")
        at_least_one(c, 6 + d, f"d{d}")


def extents_3d(c: Nodes) -> list[np.ndarray]:
    """Places of the window of source 0 over source 1, dimensions 0 to 2, as PARAMS_3D say."""
    k, x = c.src(0).ne, c.src(1).ne
    return [
        conv_extent(x[:, d], k[:, d], stride=c.i32(d), pad=c.i32(3 + d), dilation=c.i32(6 + d))
        for d in range(3)
    ]


def _check_im2col_3d(c: Nodes) -> None:
    check_steps_3d(c)
    at_least_one(c, 9, "channels")
    sizes_in_range(c, 0, 1)
    k, x = c.src(0).ne, c.src(1).ne
    channels = np.maximum(c.i32(9), 1)
    c.require(channels <= x[:, 3], "channels", channels, "at most src[1].ne[3]")
    ow, oh, od = extents_3d(c)
    # Divided, not multiplied: the product with a parameter could overflow.
    taps = k[:, 0] * k[:, 1] * k[:, 2]
    ok = divides(taps, c.ne[:, 0]) & (c.ne[:, 0] // np.maximum(taps, 1) == channels)
    rows = np.where(ok, c.ne[:, 0], 0)
    rule = "[IC * KW * KH * KD, OW, OH, OD * N]"
    result_ne(c, (rows, ow, oh, od * (x[:, 3] // channels)), rule)


@op(
    "IM2COL_3D",
    sources=[source("kernel", *FLOATS), source("data", *FLOATS)],
    result=("F32", "F16"),
    params=[*PARAMS_3D, i32(9, "channels")],
    check=_check_im2col_3d,
    precision="exact, or the rounding of the node's type",
    since="2025-09-04",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_im2col_3d",
)
def im2col_3d(
    xp: Any, node: Tensor, kernel: Any, data: Any, *, s0: int, s1: int, s2: int, p0: int, p1: int,
    p2: int, d0: int, d1: int, d2: int, channels: int,
) -> Any:  # fmt: skip
    """IM2COL over three dimensions.

    kernel: [KW, KH, KD], extents only; data: [W, H, D, N * IC], what is left after whole images is not read; result
    [IC * KD * KH * KW, OW, OH, OD * N].
    """
    x = encode(xp, floats(xp, data, node.src[1]), node.type)
    n = x.shape[0] // channels
    x = x[: n * channels].reshape(n, channels, *x.shape[1:])
    kw, kh, kd, _ = present(node.src[0]).ne
    ow, oh, od = node.ne[1], node.ne[2], node.ne[3] // n
    spans = [
        Span(2, kd, od, s2, p2, d2),
        Span(3, kh, oh, s1, p1, d1),
        Span(4, kw, ow, s0, p0, d0),
    ]
    return _columns(xp, x, spans, (n, channels, od, oh, ow)).reshape(node.shape)


def _check_im2col_back(c: Nodes) -> None:
    two = _check_steps(c)
    sizes_in_range(c, 0, 1)
    g, k = c.src(0).ne, c.src(1).ne
    channels = np.where(two, c.ne[:, 2], c.ne[:, 1])
    n = np.where(two, c.ne[:, 3], c.ne[:, 2])
    c.require(two | (c.ne[:, 3] == 1), "ne[3]", c.ne[:, 3], "1 when is_2d is 0")
    taps = k[:, 0] * np.where(two, k[:, 1], 1)
    ok = divides(taps, g[:, 0]) & (g[:, 0] // taps == channels)
    ok &= np.where(two, g[:, 3], g[:, 2]) == n
    ok &= two | (g[:, 3] == 1)
    rule = "[IC * KW * KH, OW, OH, N], or [IC * KW, OW, N, 1] when is_2d is 0"
    c.require(ok, "src[0].ne", g, rule)


@op(
    "IM2COL_BACK",
    sources=[source("gradient", *FLOATS), source("kernel", *FLOATS)],
    result="F32",
    params=PARAMS_2D,
    check=_check_im2col_back,
    precision="f32 sums; nmse <= 1e-7",
    since="2024-08-22",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_im2col_back_f32",
)
def im2col_back(
    xp: Any, node: Tensor, gradient: Any, kernel: Any, *, s0: int, s1: int, p0: int, p1: int,
    d0: int, d1: int, is_2d: int,
) -> Any:  # fmt: skip
    """The gradient of the data of IM2COL: each element sums the columns that it was copied to.

    gradient: as the result of IM2COL; kernel gives extents only; result as the data: [W, H, IC, N], or [W, IC, N] when
    is_2d is 0.
    """
    g = floats(xp, gradient, node.src[0])
    kw, kh = present(node.src[1]).ne[:2]
    if is_2d:
        (w, h, channels, n), (n_oh, n_ow) = node.ne, g.shape[1:3]
    else:
        (w, channels, n), h, kh = node.ne[:3], 1, 1
        n_oh, n_ow, s1, p1, d1 = 1, g.shape[2], 1, 0, 1
    g = g.reshape(n, n_oh, n_ow, channels, kh, kw)
    rows, columns = Span(2, kh, n_oh, s1, p1, d1), Span(3, kw, n_ow, s0, p0, d0)
    total = xp.zeros((n, channels, h, w), dtype=xp.float32)
    for ky in range(kh):
        line = xp.zeros((n, channels, n_oh, w), dtype=xp.float32)
        for kx in range(kw):
            part = xp.transpose(g[:, :, :, :, ky, kx], (0, 3, 1, 2))
            line = line + spread(xp, part, columns, kx, w)
        total = total + spread(xp, line, rows, ky, h)
    return total.reshape(node.shape)


def _check_col2im_1d(c: Nodes) -> None:
    a = c.src(0)
    for slot, name in ((0, "stride"), (1, "channels")):
        at_least_one(c, slot, name)
    c.require(c.i32(2) >= 0, "crop", c.i32(2), "at least 0")
    sizes_in_range(c, 0)
    c.require((a.ne[:, 2:] == 1).all(axis=1), "src[0].ne", a.ne, "a matrix")
    channels = c.i32(1)
    c.require(divides(channels, a.ne[:, 0]), "channels", channels, "a divisor of src[0].ne[0]")
    length = (a.ne[:, 1] - 1) * c.i32(0) + a.ne[:, 0] // channels - 2 * c.i32(2)
    result_ne(c, (length, channels, 1, 1), "[(T - 1) * stride + K - 2 * crop, channels, 1, 1]")


@op(
    "COL2IM_1D",
    sources=[source("columns", *FLOATS)],
    result=None,
    params=[i32(0, "stride"), i32(1, "channels"), i32(2, "crop")],
    check=_check_col2im_1d,
    precision="f32 sums; nmse <= 1e-7",
    since="2026-06-09",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_col2im_1d",
)
def col2im_1d(xp: Any, node: Tensor, columns: Any, *, stride: int, channels: int, crop: int) -> Any:
    """Add overlapping columns into a signal.

    columns: [K * channels, T], channel slowest; element k of column t is added at t * stride + k - crop, what falls
    outside of [0, node.ne[0]) is dropped.
    """
    x = floats(xp, columns, node.src[0])[0, 0]
    n_columns = x.shape[0]
    x = xp.transpose(x.reshape(n_columns, channels, x.shape[1] // channels), (1, 0, 2))
    span = Span(1, x.shape[2], n_columns, stride, crop)
    total = xp.zeros((channels, node.ne[0]), dtype=xp.float32)
    for k in range(span.n_taps):
        total = total + spread(xp, x[:, :, k], span, k, node.ne[0])
    return total.reshape(node.shape)
