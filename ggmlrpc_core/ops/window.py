"""Windows of image attention: WIN_PART, WIN_UNPART, GET_REL_POS, ADD_REL_POS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, i32, op, source
from ggmlrpc_core.ops.rules import result_ne, same_shape
from ggmlrpc_core.ops.taps import at_least_one, sizes_in_range
from ggmlrpc_core.ops.values import constant, floats


def _parts(size: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Windows that cover an extent, the last one perhaps in part."""
    return -(-size // np.maximum(window, 1))


def _check_win_part(c: Nodes) -> None:
    at_least_one(c, 2, "window")
    sizes_in_range(c, 0)
    a, window = c.src(0), c.i32(2)
    c.require(a.ne[:, 3] == 1, "src[0].ne[3]", a.ne[:, 3], "1")
    for d in (0, 1):
        parts = c.i32(d)
        ok = parts == _parts(a.ne[:, 1 + d], window)
        c.require(ok, "npx" if d == 0 else "npy", parts, f"src[0].ne[{1 + d}] / window, rounded up")
    rule = "[src[0].ne[0], window, window, npx * npy]"
    result_ne(c, (a.ne[:, 0], window, window, c.i32(0) * c.i32(1)), rule)


@op(
    "WIN_PART",
    sources=[source("a", *FLOATS)],
    result="F32",
    params=[i32(0, "npx"), i32(1, "npy"), i32(2, "window")],
    check=_check_win_part,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_win_part_f32",
)
def win_part(xp: Any, node: Tensor, a: Any, *, npx: int, npy: int, window: int) -> Any:
    """Cut an image into square windows, row by row; zeros beyond its edges.

    a: [c, w, h]; result [c, window, window, npx * npy].
    """
    x = floats(xp, a, node.src[0])[0]
    h, w, n = x.shape
    x = xp.pad(x, ((0, npy * window - h), (0, npx * window - w), (0, 0)))
    x = x.reshape(npy, window, npx, window, n)
    return xp.transpose(x, (0, 2, 1, 3, 4)).reshape(node.shape)


def _check_win_unpart(c: Nodes) -> None:
    at_least_one(c, 0, "window")
    sizes_in_range(c, 0)
    a, window = c.src(0), c.i32(0)
    c.require(c.ne[:, 3] == 1, "ne[3]", c.ne[:, 3], "1")
    parts = _parts(c.ne[:, 1], window) * _parts(c.ne[:, 2], window)
    ok = (a.ne[:, 0] == c.ne[:, 0]) & (a.ne[:, 1] == window) & (a.ne[:, 2] == window)
    ok &= a.ne[:, 3] == parts
    c.require(ok, "src[0].ne", a.ne, "[ne[0], window, window, windows that cover ne[1] and ne[2]]")


@op(
    "WIN_UNPART",
    sources=[source("a", *FLOATS)],
    result="F32",
    params=[i32(0, "window")],
    check=_check_win_unpart,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_win_unpart_f32",
)
def win_unpart(xp: Any, node: Tensor, a: Any, *, window: int) -> Any:
    """Put windows back into an image and cut what is beyond its edges; the reverse of WIN_PART."""
    x = floats(xp, a, node.src[0])
    _, h, w, n = node.shape
    npx = -(-w // window)
    npy = x.shape[0] // npx
    x = xp.transpose(x.reshape(npy, npx, window, window, n), (0, 2, 1, 3, 4))
    return x.reshape(npy * window, npx * window, n)[:h, :w].reshape(node.shape)


def _check_get_rel_pos(c: Nodes) -> None:
    a = c.src(0)
    sizes_in_range(c, 0)
    c.require((a.ne[:, 2:] == 1).all(axis=1), "src[0].ne", a.ne, "a matrix")
    side = (a.ne[:, 1] + 1) // 2
    c.require(a.ne[:, 1] % 2 == 1, "src[0].ne[1]", a.ne[:, 1], "2 * n - 1")
    result_ne(c, (a.ne[:, 0], side, side, 1), "[src[0].ne[0], n, n, 1] of src[0].ne[1] = 2 * n - 1")


@op(
    "GET_REL_POS",
    sources=[source("a", "F16", "BF16")],
    result="F16",
    check=_check_get_rel_pos,
    precision="exact; the bits of a BF16 source are copied, not converted",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_get_rel_pos_f16",
)
def get_rel_pos(xp: Any, node: Tensor, a: Any) -> Any:
    """Rows of a by relative position: result (i1, i2) is row n - 1 - i1 + i2.

    a: [c, 2 * n - 1]; result [c, n, n].
    """
    n = node.ne[1]
    rows = (n - 1) - np.arange(n)[None, :] + np.arange(n)[:, None]
    return xp.take(a, constant(xp, rows, np.int32), axis=2)[0].view(xp.float16)


def _check_add_rel_pos(c: Nodes) -> None:
    same_shape(c)
    sizes_in_range(c, 0, 1, 2)
    a, pw, ph = c.src(0), c.src(1), c.src(2)
    c.require((ph.ne == pw.ne).all(axis=1), "src[2].ne", ph.ne, "src[1].ne")
    ok = (a.ne[:, 0] == pw.ne[:, 0] ** 2) & (a.ne[:, 1] == pw.ne[:, 1] * pw.ne[:, 2])
    ok &= (a.ne[:, 2] == pw.ne[:, 3]) & (a.ne[:, 3] == 1)
    rule = "[src[1].ne[0] squared, src[1].ne[1] * src[1].ne[2], src[1].ne[3], 1]"
    c.require(ok, "src[0].ne", a.ne, rule)


@op(
    "ADD_REL_POS",
    sources=[source("a", *FLOATS), source("pw", *FLOATS), source("ph", *FLOATS)],
    result=None,
    params=[i32(0, "inplace")],
    check=_check_add_rel_pos,
    precision="f32; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_add_rel_pos_f32",
)
def add_rel_pos(xp: Any, node: Tensor, a: Any, pw: Any, ph: Any, *, inplace: int) -> Any:
    """Add a bias for the row and one for the column to each attention score of an image.

    pw, ph: [k, w, h, s]; a: [k * k, w * h, s], key (y, x) at y * k + x; ph is added along y, pw along x. The inplace
    flag only says where the node lies.
    """
    side = pw.shape[3]
    x = floats(xp, a, node.src[0]).reshape(-1, side, side)
    rows = floats(xp, ph, node.src[2]).reshape(-1, side, 1)
    columns = floats(xp, pw, node.src[1]).reshape(-1, 1, side)
    return (x + rows + columns).reshape(node.shape)
