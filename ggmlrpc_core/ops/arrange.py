"""Ops that place elements elsewhere without arithmetic: REPEAT, CONCAT, PAD, PAD_REFLECT_1D, ROLL."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import TYPE_NAME, Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import ANY, FLOATS, i32, op, source
from ggmlrpc_core.ops.rules import contiguous, divides, result_ne, same_shape
from ggmlrpc_core.ops.values import constant

PLAIN = ("F32", "F16", "BF16", "I8", "I16", "I32", "I64", "F64")


def _check_repeat(c: Nodes) -> None:
    a = c.src(0)
    c.require(divides(a.ne, c.ne).all(axis=1), "ne", c.ne, "multiples of src[0].ne")


@op(
    "REPEAT",
    sources=[source("a", *PLAIN), source("shape", *ANY, optional=True)],
    result=None,
    check=_check_repeat,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_repeat",
)
def repeat(xp: Any, node: Tensor, a: Any, shape: Any) -> Any:
    """a, tiled to the shape of the node."""
    return xp.tile(a, tuple(n // m for n, m in zip(node.shape, a.shape)))


def _check_concat(c: Nodes) -> None:
    a, b = c.src(0), c.src(1)
    dim = c.i32(0)
    c.require((dim >= 0) & (dim < 4), "dim", dim, "inside [0, 4)")
    c.require(b.type == a.type, "src[1].type", TYPE_NAME[b.type], "the type of src[0]")
    along = np.arange(4)[None, :] == dim[:, None]
    ok = ((a.ne == b.ne) | along).all(axis=1)
    c.require(ok, "src[1].ne", b.ne, "src[0].ne except along dim")
    ok = (c.ne == a.ne + np.where(along, b.ne, 0)).all(axis=1)
    c.require(ok, "ne", c.ne, "src[0].ne, with both extents added along dim")


@op(
    "CONCAT",
    sources=[source("a", *ANY), source("b", *ANY)],
    result=None,
    params=[i32(0, "dim")],
    check=_check_concat,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_concat",
)
def concat(xp: Any, node: Tensor, a: Any, b: Any, *, dim: int) -> Any:
    """b after a along a dimension; quantized rows are joined as whole blocks."""
    return xp.concatenate([a, b], axis=3 - dim)


def _check_pad(c: Nodes) -> None:
    a = c.src(0)
    pads = np.stack([c.i32(slot) for slot in range(8)], axis=1)
    c.require((pads >= 0).all(axis=1), "paddings", pads, "none below 0")
    sums = pads[:, 0::2] + pads[:, 1::2]
    c.require((c.ne == a.ne + sums).all(axis=1), "ne", c.ne, "src[0].ne plus the paddings")
    circular = c.i32(8) != 0
    # Upstream wraps once to the left: farther would be before the row.
    ok = ~circular | ((pads[:, 0::2] <= a.ne) & (a.ne > 0)).all(axis=1)
    c.require(ok, "paddings", pads, "on the left at most src[0].ne when circular")


@op(
    "PAD",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[
        *(
            i32(2 * d + side, f"{name}{d}")
            for d in range(4)
            for side, name in enumerate(("left_", "right_"))
        ),
        i32(8, "circular"),
    ],
    check=_check_pad,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_pad_f32",
)
def pad(xp: Any, node: Tensor, a: Any, *, circular: int, **widths: int) -> Any:
    """Add zeros, or with `circular` the elements of the other end, on both sides of each dimension."""
    if not circular:
        both = [(widths[f"left_{d}"], widths[f"right_{d}"]) for d in (3, 2, 1, 0)]
        return xp.pad(a, both)
    for d in range(4):
        n = a.shape[3 - d]
        at = np.arange(-widths[f"left_{d}"], n + widths[f"right_{d}"]) % n
        a = xp.take(a, constant(xp, at, np.int32), axis=3 - d)
    return a


def _check_pad_reflect_1d(c: Nodes) -> None:
    a = c.src(0)
    contiguous(0)(c)
    for slot, name in ((0, "left"), (1, "right")):
        ok = (c.i32(slot) >= 0) & (c.i32(slot) < a.ne[:, 0])
        c.require(ok, name, c.i32(slot), "inside [0, src[0].ne[0])")
    n = a.ne[:, 0] + c.i32(0) + c.i32(1)
    rule = "src[0].ne, with the paddings added to ne[0]"
    result_ne(c, (n, a.ne[:, 1], a.ne[:, 2], a.ne[:, 3]), rule)


@op(
    "PAD_REFLECT_1D",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[i32(0, "left"), i32(1, "right")],
    check=_check_pad_reflect_1d,
    precision="exact",
    since="2024-12-03",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_pad_reflect_1d",
)
def pad_reflect_1d(xp: Any, node: Tensor, a: Any, *, left: int, right: int) -> Any:
    """Add the mirror image at both ends of each row, without repeating the edge."""
    n = a.shape[-1]
    at = np.abs(np.arange(-left, n + right))
    at = np.where(at < n, at, 2 * (n - 1) - at)
    return xp.take(a, constant(xp, at, np.int32), axis=3)


def _check_roll(c: Nodes) -> None:
    same_shape(c)
    a = c.src(0)
    shifts = np.stack([c.i32(slot) for slot in range(4)], axis=1)
    ok = (np.abs(shifts) < a.ne).all(axis=1)
    c.require(ok, "shifts", shifts, "smaller than src[0].ne")


@op(
    "ROLL",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[i32(d, f"shift_{d}") for d in range(4)],
    check=_check_roll,
    precision="exact",
    since="2025-06-18",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_roll_f32",
)
def roll(xp: Any, node: Tensor, a: Any, **shifts: int) -> Any:
    """Move every element by the shifts; what leaves at an end enters at the other."""
    return xp.roll(a, tuple(shifts[f"shift_{d}"] for d in (3, 2, 1, 0)), axis=(0, 1, 2, 3))
