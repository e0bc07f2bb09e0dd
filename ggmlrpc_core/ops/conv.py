"""Convolutions: CONV_2D, CONV_3D, CONV_2D_DW, CONV_TRANSPOSE_1D, CONV_TRANSPOSE_2D.

A convolution is summed tap by tap, so that no more than one shifted copy of the data is held at a time.
Shapes in ne order: KW, KH, KD kernel extents, IC and OC channels in and out, N images, OW, OH, OD places of the window.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, i32, op, source
from ggmlrpc_core.ops.im2col import PARAMS_3D, check_steps_3d, extents_3d
from ggmlrpc_core.ops.rules import extent, result_ne
from ggmlrpc_core.ops.taps import (
    Span,
    at_least_one,
    conv_extent,
    patches,
    sizes_in_range,
    spread,
)
from ggmlrpc_core.ops.values import floats

PRECISION = (
    "products and sums in f32, data unrounded; nmse <= 1e-5 against a backend that rounds it to F16"
)

PARAMS_2D = [
    i32(0, "s0"), i32(1, "s1"), i32(2, "p0"), i32(3, "p1"), i32(4, "d0"), i32(5, "d1"),
]  # fmt: skip


def _convolve(xp: Any, x: Any, kernel: Any, spans: list[Span], *, depthwise: bool = False) -> Any:
    """Sum over taps and channels.

    Args:
        x: f32 [n, channels, sizes...].
        kernel: f32 [out channels, channels, taps...]; depthwise [channels, taps...].
        spans: one for each size.

    Returns:
        f32 [n, out channels, places...].
    """
    places = [span.n_out for span in spans]
    ones = [1] * len(spans)
    if depthwise:
        total = xp.zeros((x.shape[0], x.shape[1], *places), dtype=xp.float32)
    else:
        total = xp.zeros((x.shape[0], kernel.shape[0], *places), dtype=xp.float32)
    for taps, part in patches(xp, x, spans):
        if depthwise:
            total = total + part * kernel[(slice(None), *taps)].reshape(1, -1, *ones)
        else:
            flat = part.reshape(x.shape[0], x.shape[1], -1)
            product = xp.matmul(kernel[(slice(None), slice(None), *taps)], flat)
            total = total + product.reshape(total.shape)
    return total


def _check_conv_2d_places(c: Nodes) -> tuple[Any, Any]:
    """(OW, OH) of a kernel in source 0 over source 1."""
    for slot, name in ((0, "s0"), (1, "s1"), (4, "d0"), (5, "d1")):
        at_least_one(c, slot, name)
    sizes_in_range(c, 0, 1)
    k, x = c.src(0).ne, c.src(1).ne
    ow, oh = (
        conv_extent(x[:, d], k[:, d], stride=c.i32(d), pad=c.i32(2 + d), dilation=c.i32(4 + d))
        for d in (0, 1)
    )
    return ow, oh


def _check_conv_2d(c: Nodes) -> None:
    ow, oh = _check_conv_2d_places(c)
    k, x = c.src(0), c.src(1)
    extent(c, k, "src[0]", dim=2, equals=x.ne[:, 2], rule="src[1].ne[2]")
    result_ne(c, (ow, oh, k.ne[:, 3], x.ne[:, 3]), "[OW, OH, src[0].ne[3], src[1].ne[3]]")


@op(
    "CONV_2D",
    sources=[source("kernel", *FLOATS), source("data", *FLOATS)],
    result=FLOATS,
    params=PARAMS_2D,
    check=_check_conv_2d,
    precision=PRECISION,
    since="2025-06-30",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_conv_2d",
)
def conv_2d(
    xp: Any, node: Tensor, kernel: Any, data: Any, *, s0: int, s1: int, p0: int, p1: int,
    d0: int, d1: int,
) -> Any:  # fmt: skip
    """Slide a kernel over images; zeros outside of them.

    kernel: [KW, KH, IC, OC]; data: [W, H, IC, N]; result [OW, OH, OC, N].
    """
    k = floats(xp, kernel, node.src[0])
    spans = [
        Span(2, k.shape[2], node.ne[1], s1, p1, d1),
        Span(3, k.shape[3], node.ne[0], s0, p0, d0),
    ]
    return _convolve(xp, floats(xp, data, node.src[1]), k, spans)


def _check_conv_2d_dw(c: Nodes) -> None:
    ow, oh = _check_conv_2d_places(c)
    k, x = c.src(0), c.src(1)
    extent(c, k, "src[0]", dim=2, equals=1, rule="1")
    extent(c, k, "src[0]", dim=3, equals=x.ne[:, 2], rule="src[1].ne[2]")
    result_ne(c, (ow, oh, x.ne[:, 2], x.ne[:, 3]), "[OW, OH, src[1].ne[2], src[1].ne[3]]")


@op(
    "CONV_2D_DW",
    sources=[source("kernel", *FLOATS), source("data", *FLOATS)],
    result=FLOATS,
    params=PARAMS_2D,
    check=_check_conv_2d_dw,
    precision=PRECISION,
    since="2025-04-17",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_conv_2d_dw",
)
def conv_2d_dw(
    xp: Any, node: Tensor, kernel: Any, data: Any, *, s0: int, s1: int, p0: int, p1: int,
    d0: int, d1: int,
) -> Any:  # fmt: skip
    """Slide one kernel per channel over images; zeros outside of them.

    kernel: [KW, KH, 1, C]; data: [W, H, C, N]; result [OW, OH, C, N], in any memory order.
    """
    k = floats(xp, kernel, node.src[0])[:, 0]
    spans = [
        Span(2, k.shape[1], node.ne[1], s1, p1, d1),
        Span(3, k.shape[2], node.ne[0], s0, p0, d0),
    ]
    return _convolve(xp, floats(xp, data, node.src[1]), k, spans, depthwise=True)


def _check_conv_3d(c: Nodes) -> None:
    check_steps_3d(c)
    for slot, name in ((9, "channels"), (10, "n"), (11, "out_channels")):
        at_least_one(c, slot, name)
    sizes_in_range(c, 0, least=0)
    sizes_in_range(c, 1)
    k, x = c.src(0), c.src(1)
    channels, n, out = c.i32(9), c.i32(10), c.i32(11)
    extent(c, k, "src[0]", dim=3, equals=channels * out, rule="channels * out_channels")
    extent(c, x, "src[1]", dim=3, equals=channels * n, rule="channels * n")
    ow, oh, od = extents_3d(c)
    result_ne(c, (ow, oh, od, out * n), "[OW, OH, OD, out_channels * n]")


@op(
    "CONV_3D",
    sources=[source("kernel", *FLOATS), source("data", *FLOATS)],
    result="F32",
    params=[*PARAMS_3D, i32(9, "channels"), i32(10, "n"), i32(11, "out_channels")],
    check=_check_conv_3d,
    precision=PRECISION,
    since="2025-08-22",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_conv_3d",
)
def conv_3d(
    xp: Any, node: Tensor, kernel: Any, data: Any, *, s0: int, s1: int, s2: int, p0: int, p1: int,
    p2: int, d0: int, d1: int, d2: int, channels: int, n: int, out_channels: int,
) -> Any:  # fmt: skip
    """Slide a kernel over volumes; zeros outside of them, and everywhere for a kernel with an extent of 0.

    kernel: [KW, KH, KD, IC * OC], out channel slowest; data: [W, H, D, IC * N]; result [OW, OH, OD, OC * N].
    """
    k = floats(xp, kernel, node.src[0])
    k = k.reshape(out_channels, channels, *k.shape[1:])
    x = floats(xp, data, node.src[1])
    x = x.reshape(n, channels, *x.shape[1:])
    spans = [
        Span(2, k.shape[2], node.ne[2], s2, p2, d2),
        Span(3, k.shape[3], node.ne[1], s1, p1, d1),
        Span(4, k.shape[4], node.ne[0], s0, p0, d0),
    ]
    return _convolve(xp, x, k, spans).reshape(node.shape)


def _convolve_transposed(xp: Any, x: Any, kernel: Any, out: tuple[int, int], stride: int) -> Any:
    """Add a kernel, scaled by each element of x, at stride times its place.

    x: f32 [n, IC, H, W]; kernel: f32 [IC, OC, KH, KW]; out (OH, OW); result f32 [n, OC, OH, OW].
    """
    n, n_in, h, w = x.shape
    n_out, kh, kw = kernel.shape[1:]
    rows, columns = Span(2, kh, h, stride), Span(3, kw, w, stride)
    flat = x.reshape(n, n_in, h * w)
    total = xp.zeros((n, n_out, *out), dtype=xp.float32)
    for ky in range(kh):
        line = xp.zeros((n, n_out, h, out[1]), dtype=xp.float32)
        for kx in range(kw):
            product = xp.matmul(xp.swapaxes(kernel[:, :, ky, kx], 0, 1), flat)
            line = line + spread(xp, product.reshape(n, n_out, h, w), columns, kx, out[1])
        total = total + spread(xp, line, rows, ky, out[0])
    return total


def _check_conv_transpose_1d(c: Nodes) -> None:
    at_least_one(c, 0, "stride")
    sizes_in_range(c, 0, 1)
    k, x = c.src(0), c.src(1)
    c.require(c.i32(1) == 0, "pad", c.i32(1), "0")
    c.require(c.i32(2) == 1, "dilation", c.i32(2), "1")
    c.require((x.ne[:, 2:] == 1).all(axis=1), "src[1].ne", x.ne, "a matrix")
    extent(c, k, "src[0]", dim=2, equals=x.ne[:, 1], rule="src[1].ne[1]")
    extent(c, k, "src[0]", dim=3, equals=1, rule="1")
    length = (x.ne[:, 0] - 1) * c.i32(0) + k.ne[:, 0]
    result_ne(c, (length, k.ne[:, 1], 1, 1), "[(L - 1) * stride + K, src[0].ne[1], 1, 1]")


@op(
    "CONV_TRANSPOSE_1D",
    sources=[source("kernel", *FLOATS), source("data", *FLOATS)],
    result="F32",
    params=[i32(0, "stride"), i32(1, "pad"), i32(2, "dilation")],
    check=_check_conv_transpose_1d,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_conv_transpose_1d",
)
def conv_transpose_1d(
    xp: Any, node: Tensor, kernel: Any, data: Any, *, stride: int, pad: int, dilation: int
) -> Any:
    """The gradient of a convolution: each element adds its kernel at stride times its place.

    kernel: [K, OC, IC]; data: [L, IC]; result [(L - 1) * stride + K, OC].
    """
    k = floats(xp, kernel, node.src[0])[0]
    x = floats(xp, data, node.src[1])[0, 0]
    k = k.reshape(k.shape[0], k.shape[1], 1, k.shape[2])
    x = x.reshape(1, x.shape[0], 1, x.shape[1])
    return _convolve_transposed(xp, x, k, (1, node.ne[0]), stride).reshape(node.shape)


def _check_conv_transpose_2d(c: Nodes) -> None:
    at_least_one(c, 0, "stride")
    sizes_in_range(c, 0, 1)
    k, x = c.src(0), c.src(1)
    extent(c, k, "src[0]", dim=3, equals=x.ne[:, 2], rule="src[1].ne[2]")
    ow, oh = ((x.ne[:, d] - 1) * c.i32(0) + k.ne[:, d] for d in (0, 1))
    rule = "[(W - 1) * stride + KW, (H - 1) * stride + KH, src[0].ne[2], src[1].ne[3]]"
    result_ne(c, (ow, oh, k.ne[:, 2], x.ne[:, 3]), rule)


@op(
    "CONV_TRANSPOSE_2D",
    sources=[source("kernel", *FLOATS), source("data", *FLOATS)],
    result="F32",
    params=[i32(0, "stride")],
    check=_check_conv_transpose_2d,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_conv_transpose_2d",
)
def conv_transpose_2d(xp: Any, node: Tensor, kernel: Any, data: Any, *, stride: int) -> Any:
    """CONV_TRANSPOSE_1D over two dimensions.

    kernel: [KW, KH, OC, IC]; data: [W, H, IC, N]; result [(W - 1) * stride + KW, (H - 1) * stride + KH, OC, N].
    """
    k = floats(xp, kernel, node.src[0])
    x = floats(xp, data, node.src[1])
    return _convolve_transposed(xp, x, k, (node.ne[1], node.ne[0]), stride)
