"""GLU: gated linear units, an activation of one half times the other."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Any

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.table import TYPE_NAME, Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops import unary
from ggmlrpc_core.ops.declare import FLOATS, f32, i32, op, source
from ggmlrpc_core.ops.rules import rows_contiguous
from ggmlrpc_core.ops.values import floats

ACTIVATIONS: MappingProxyType[str, unary.Function] = MappingProxyType(
    {
        "REGLU": unary.relu,
        "GEGLU": unary.gelu,
        "SWIGLU": unary.silu,
        "GEGLU_ERF": unary.gelu_erf,
        "GEGLU_QUICK": unary.gelu_quick,
    }
)
"""What is done to the gate, for the functions without parameters of their own."""


@cache
def glu_names() -> MappingProxyType[int, str]:
    """Function number to name."""
    return MappingProxyType({number: name for name, number in NEWEST.glu.items()})


def _check_glu(c: Nodes) -> None:
    a, b = c.src(0), c.src(1)
    number = c.i32(0)
    known = len(NEWEST.glu)
    c.require((number >= 0) & (number < known), "glu function", number, f"inside [0, {known})")
    rows_contiguous(0, 1)(c)
    ok = ~b.present | (b.ne == a.ne).all(axis=1)
    c.require(ok, "src[1].ne", b.ne, "src[0].ne")
    c.require(
        ~b.present | (b.type == a.type), "src[1].type", TYPE_NAME[b.type], "the type of src[0]"
    )
    expected = a.ne.copy()
    expected[:, 0] = expected[:, 0] // (2 - b.present)
    c.require(
        (c.ne == expected).all(axis=1), "ne", c.ne, "src[0].ne, with half of ne[0] without src[1]"
    )


@op(
    "GLU",
    sources=[source("a", *FLOATS), source("b", *FLOATS, optional=True)],
    result=None,
    params=[i32(0, "function"), i32(1, "swapped"), f32(2, "alpha"), f32(3, "limit")],
    check=_check_glu,
    precision="f32; nmse <= 1e-7 (a backend may take GEGLU from a table of F16 values)",
    since="2025-06-29",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_glu",
)
def glu(
    xp: Any,
    node: Tensor,
    a: Any,
    b: Any,
    *,
    function: int,
    swapped: int,
    alpha: float,
    limit: float,
) -> Any:
    """activation(gate) * up.

    With b the gate is a and up is b; without, they are the halves of each row of a, the gate first unless swapped;
    the last value of an odd row is not read.
    SWIGLU_OAI and SWIGLU_CLAMP bound both by `limit` first.
    """
    x = floats(xp, a, node.src[0])
    if b is not None:
        gate, up = x, floats(xp, b, node.src[1])
    else:
        half = x.shape[-1] // 2
        gate, up = x[..., :half], x[..., half : 2 * half]
        if swapped:
            gate, up = up, gate
    name = glu_names()[function]
    if name in ACTIVATIONS:
        return ACTIVATIONS[name](xp, gate) * up
    gate = xp.minimum(gate, limit)
    up = xp.maximum(xp.minimum(up, limit), -limit)
    if name == "SWIGLU_CLAMP":
        return unary.silu(xp, gate) * up
    return gate * unary.sigmoid(xp, gate * alpha) * (up + 1.0)
