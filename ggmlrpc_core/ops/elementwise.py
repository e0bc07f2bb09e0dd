"""Ops that treat every element alone: arithmetic with tiling, and functions of one value.

Activations (UNARY, GLU) are in unary.py and glu.py.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import ENCODABLE, FLOATS, QUANTS, Ids, f32, op, source
from ggmlrpc_core.ops.rules import same_shape, tiles
from ggmlrpc_core.ops.values import floats, present

ARITHMETIC = "f32; nmse <= 1e-7"


def tiled(xp: Any, a: Any, b: Any) -> Any:
    """`b` repeated to the shape of `a`, which must be a multiple of it in every dimension."""
    if all(n in (1, m) for n, m in zip(b.shape, a.shape)):
        return b
    return xp.tile(b, tuple(m // n for n, m in zip(b.shape, a.shape)))


def check_arithmetic(c: Nodes) -> None:
    """Result like source 0; source 1 tiles over it."""
    same_shape(c)
    tiles(c)


@op(
    "ADD",
    sources=[source("a", *FLOATS, *QUANTS), source("b", *FLOATS)],
    result=FLOATS + ENCODABLE,
    check=check_arithmetic,
    precision=ARITHMETIC,
    since="2024-05-14",
    upstream="ggml-cpu/binary-ops.cpp ggml_compute_forward_add_non_quantized, ops.cpp ggml_compute_forward_add",
)
def add(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """a + b, with b tiled over a; a may be quantized."""
    x, y = floats(xp, a, node.src[0]), floats(xp, b, node.src[1])
    return x + tiled(xp, x, y)


@op(
    "SUB",
    sources=[source("a", *FLOATS), source("b", *FLOATS)],
    result=FLOATS,
    check=check_arithmetic,
    precision=ARITHMETIC,
    since="2024-05-14",
    upstream="ggml-cpu/binary-ops.cpp ggml_compute_forward_sub",
)
def sub(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """a - b, with b tiled over a."""
    x, y = floats(xp, a, node.src[0]), floats(xp, b, node.src[1])
    return x - tiled(xp, x, y)


@op(
    "MUL",
    sources=[source("a", *FLOATS), source("b", *FLOATS)],
    result=FLOATS,
    check=check_arithmetic,
    precision=ARITHMETIC,
    since="2024-05-14",
    upstream="ggml-cpu/binary-ops.cpp ggml_compute_forward_mul",
)
def mul(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """a * b, with b tiled over a."""
    x, y = floats(xp, a, node.src[0]), floats(xp, b, node.src[1])
    return x * tiled(xp, x, y)


@op(
    "DIV",
    sources=[source("a", *FLOATS), source("b", *FLOATS)],
    result=FLOATS,
    check=check_arithmetic,
    precision=ARITHMETIC,
    since="2024-05-14",
    upstream="ggml-cpu/binary-ops.cpp ggml_compute_forward_div",
)
def div(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """a / b, with b tiled over a; a division by zero gives infinity or NaN."""
    x, y = floats(xp, a, node.src[0]), floats(xp, b, node.src[1])
    return x / tiled(xp, x, y)


def _check_add1(c: Nodes) -> None:
    same_shape(c)
    b = c.src(1)
    c.require(b.nelements == 1, "src[1].ne", b.ne, "one element")


@op(
    "ADD1",
    sources=[source("a", *FLOATS, *ENCODABLE), source("b", *FLOATS)],
    result=None,
    check=_check_add1,
    precision=ARITHMETIC,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_add1",
)
def add1(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """Add the one element of b to every element of a."""
    return floats(xp, a, node.src[0]) + floats(xp, b, node.src[1])


def _check_add_id(c: Nodes) -> None:
    same_shape(c)
    a, b, ids = c.src(0), c.src(1), c.src(2)
    c.require(b.ne[:, 0] == a.ne[:, 0], "src[1].ne[0]", b.ne[:, 0], "src[0].ne[0]")
    c.require((b.ne[:, 2:] == 1).all(axis=1), "src[1].ne", b.ne, "a matrix")
    c.require(a.ne[:, 3] == 1, "src[0].ne[3]", a.ne[:, 3], "1")
    ok = (ids.ne[:, :2] == a.ne[:, 1:3]).all(axis=1) & (ids.ne[:, 2:] == 1).all(axis=1)
    c.require(ok, "src[2].ne", ids.ne, "[src[0].ne[1], src[0].ne[2], 1, 1]")


@op(
    "ADD_ID",
    sources=[source("a", *FLOATS), source("b", *FLOATS), source("ids", "I32")],
    result=None,
    check=_check_add_id,
    ids=Ids(2, lambda node: present(node.src[1]).ne[1]),
    precision=ARITHMETIC,
    since="2025-08-05",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_add_id",
)
def add_id(xp: Any, node: Tensor, a: Any, b: Any, ids: Any) -> Any:
    """Add row ids[i1, i2] of b to row (i1, i2) of a.

    a: [n, used, tokens]; b: [n, experts]; ids: [used, tokens].
    """
    return floats(xp, a, node.src[0]) + floats(xp, b[0, 0][ids[0, 0]], node.src[1])


def _function(name: str, text: str, since: str) -> Any:
    """Declare an op of one value; the types of source and result may differ."""
    return op(
        name,
        sources=[source("a", *FLOATS)],
        result=FLOATS,
        check=same_shape,
        precision=ARITHMETIC,
        since=since,
        upstream=f"ggml-cpu/unary-ops.cpp ggml_compute_forward_{text}",
    )


@_function("SQR", "sqr", "2024-05-14")
def sqr(xp: Any, node: Tensor, a: Any) -> Any:
    """x * x."""
    x = floats(xp, a, node.src[0])
    return x * x


@_function("SQRT", "sqrt", "2024-05-14")
def sqrt(xp: Any, node: Tensor, a: Any) -> Any:
    """Square root; NaN below 0."""
    return xp.sqrt(floats(xp, a, node.src[0]))


@_function("LOG", "log", "2024-05-14")
def log(xp: Any, node: Tensor, a: Any) -> Any:
    """Natural logarithm; -inf at 0, NaN below."""
    return xp.log(floats(xp, a, node.src[0]))


@_function("SIN", "sin", "2024-08-12")
def sin(xp: Any, node: Tensor, a: Any) -> Any:
    """Sine of radians."""
    return xp.sin(floats(xp, a, node.src[0]))


@_function("COS", "cos", "2024-08-12")
def cos(xp: Any, node: Tensor, a: Any) -> Any:
    """Cosine of radians."""
    return xp.cos(floats(xp, a, node.src[0]))


@op(
    "SCALE",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[f32(0, "scale"), f32(1, "bias")],
    check=same_shape,
    precision=ARITHMETIC,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_scale",
)
def scale(xp: Any, node: Tensor, a: Any, *, scale: float, bias: float) -> Any:
    """x * scale + bias."""
    return floats(xp, a, node.src[0]) * scale + bias


@op(
    "CLAMP",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[f32(0, "lowest"), f32(1, "highest")],
    check=same_shape,
    precision="exact",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_clamp",
)
def clamp(xp: Any, node: Tensor, a: Any, *, lowest: float, highest: float) -> Any:
    """The nearest value in [lowest, highest]; `lowest` wins where they cross, NaN becomes `highest`."""
    x = floats(xp, a, node.src[0])
    return xp.maximum(xp.where(x < highest, x, highest), lowest)


@op(
    "LEAKY_RELU",
    sources=[source("a", *FLOATS)],
    result=None,
    params=[f32(0, "slope")],
    check=same_shape,
    precision=ARITHMETIC,
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_leaky_relu",
)
def leaky_relu(xp: Any, node: Tensor, a: Any, *, slope: float) -> Any:
    """x above 0, slope * x below, 0 for NaN: neither above nor below."""
    x = floats(xp, a, node.src[0])
    return xp.where(x > 0, x, xp.where(x < 0, x * slope, 0.0))
