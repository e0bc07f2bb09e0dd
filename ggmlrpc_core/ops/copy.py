"""Ops that move or convert elements: CPY, CONT, DUP, and windows of a tensor: SET, ACC."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import TYPE_NAME, Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import ANY, ENCODABLE, FLOATS, QUANTS, i32, op, source
from ggmlrpc_core.ops.rules import contiguous, same_nelements, same_shape
from ggmlrpc_core.ops.values import constant, floats, present, raw_shape

CONVERSIONS = "exact between equal types, else one rounding to the type of the result"


def _check_conversion(c: Nodes) -> None:
    same_nelements(c)
    s = c.src(0)
    equal = s.type == c.type
    float_in, float_out = s.is_type(*FLOATS), c.is_type(*FLOATS)
    ok = equal | (float_in & (float_out | c.is_type("I32", *ENCODABLE)))
    ok |= float_out & s.is_type("I32", *QUANTS)
    c.require(ok, "type", TYPE_NAME[c.type], "a type that src[0] can be converted to")


def _copy(xp: Any, node: Tensor, a: Any, destination: Any = None) -> Any:
    """The elements of a in order, in the shape and type of the node."""
    tensor = present(node.src[0])
    if tensor.type == node.type:
        return a.reshape(raw_shape(node))
    return floats(xp, a, tensor).reshape(node.shape)


@op(
    "CPY",
    sources=[source("a", *ANY), source("destination", *ANY, optional=True)],
    result=ANY,
    check=_check_conversion,
    precision=CONVERSIONS,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_dup",
)
def cpy(xp: Any, node: Tensor, a: Any, destination: Any) -> Any:
    """Copy a into the node, which is a view of the destination; a cast names itself as destination."""
    return _copy(xp, node, a)


op(
    "DUP",
    sources=[source("a", *ANY)],
    result=ANY,
    check=_check_conversion,
    precision=CONVERSIONS,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_dup",
)(_copy)
op(
    "CONT",
    sources=[source("a", *ANY)],
    result=ANY,
    check=_check_conversion,
    precision=CONVERSIONS,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_dup",
)(_copy)


WINDOW = [i32(0, "nb1"), i32(1, "nb2"), i32(2, "nb3"), i32(3, "offset"), i32(4, "inplace")]


def _check_window(c: Nodes) -> None:
    same_shape(c)
    contiguous(0)(c)
    c.require(c.contiguous, "nb", c.nb, "strides without gaps")
    b = c.src(1)
    c.require(b.type == c.type, "src[1].type", TYPE_NAME[b.type], "the type of src[0]")
    strides = np.stack([c.i32(slot) for slot in range(4)], axis=1)
    c.require((strides >= 0).all(axis=1), "nb1, nb2, nb3, offset", strides, "none below 0")
    whole = (strides % np.maximum(c.type_size, 1)[:, None] == 0).all(axis=1)
    c.require(whole, "nb1, nb2, nb3, offset", strides, "multiples of the element size")
    reach = np.maximum(b.ne - 1, 0)
    end = (strides[:, :3] * reach[:, 1:]).sum(axis=1) + strides[:, 3] + reach[:, 0] * c.type_size
    ok = (end + c.type_size <= c.nelements * c.type_size) | (b.nelements == 0)
    c.require(ok, "window end", end + c.type_size, "at most the bytes of src[0]")


def _window(
    xp: Any, node: Tensor, a: Any, *, nb1: int, nb2: int, nb3: int, offset: int
) -> tuple[Any, Any, Any, Any]:
    """(flat a, its flat form in b's order, where the window is) for SET and ACC.

    Returns the flat elements of a, a bool by element whether the window covers it, and the element of b there.
    """
    ne = present(node.src[1]).ne
    size = node.type.type_size
    i3, i2, i1, i0 = np.ix_(*(np.arange(n) for n in ne[::-1]))
    at = (offset + i3 * nb3 + i2 * nb2 + i1 * nb1) // size + i0
    origin = np.full(node.nelements, -1, np.int64)
    origin[at.reshape(-1)] = np.arange(at.size)
    covered = constant(xp, origin >= 0, np.bool_)
    return a.reshape(-1), covered, constant(xp, np.maximum(origin, 0), np.int32), at.size


@op(
    "SET",
    sources=[source("a", "F32", "I32"), source("b", "F32", "I32")],
    result=None,
    params=WINDOW,
    check=_check_window,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_set",
)
def set_window(
    xp: Any,
    node: Tensor,
    a: Any,
    b: Any,
    *,
    nb1: int,
    nb2: int,
    nb3: int,
    offset: int,
    inplace: int,
) -> Any:
    """a, with b written over the window that the byte strides and the byte offset describe."""
    flat, covered, origin, n = _window(xp, node, a, nb1=nb1, nb2=nb2, nb3=nb3, offset=offset)
    if n == 0:
        return a
    return xp.where(covered, b.reshape(-1)[origin], flat).reshape(node.shape)


@op(
    "ACC",
    sources=[source("a", "F32"), source("b", "F32")],
    result="F32",
    params=WINDOW,
    check=_check_window,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_acc",
)
def acc(
    xp: Any,
    node: Tensor,
    a: Any,
    b: Any,
    *,
    nb1: int,
    nb2: int,
    nb3: int,
    offset: int,
    inplace: int,
) -> Any:
    """a, with b added in the window that the byte strides and the byte offset describe."""
    flat, covered, origin, n = _window(xp, node, a, nb1=nb1, nb2=nb2, nb3=nb3, offset=offset)
    if n == 0:
        return a
    return xp.where(covered, flat + b.reshape(-1)[origin], flat).reshape(node.shape)
