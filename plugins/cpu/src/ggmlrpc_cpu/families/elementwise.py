"""ADD SUB MUL DIV SCALE CLAMP SQR SQRT UNARY GLU ADD_ID on F32 (kernels/elementwise.py)."""

from __future__ import annotations

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_cpu.families.layout import f32_rows, flat, moved, source
from ggmlrpc_cpu.step import NS_PER_BYTE, Context, Step, steps_of, touched

UNARY_NAMES = {number: name for name, number in NEWEST.unary.items()}
GLU_NAMES = {number: name for name, number in NEWEST.glu.items()}
COSTLY = 4
"""How much longer than a copy a function with an exponential takes."""
HAVE_NO_KERNEL = ("SWIGLU", "SWIGLU_OAI", "SQRT_SOFTPLUS")
"""Unary functions of forks."""


def _one_row(node: Tensor, sources: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Tensors of equal shape as one long row each, where all are contiguous; else as they are."""
    tensors = (node, *sources)
    if all(t is None or (t.contiguous and t.ne == node.ne) for t in tensors):
        return tuple(t if t is None else flat(t) for t in tensors)
    return tensors


@steps_of("ADD", "SUB", "MUL", "DIV", layout_only=True)
def binary(node: Tensor, context: Context) -> list[Step] | None:
    """dst = a op b, b tiled."""
    a, b = source(node, 0), source(node, 1)
    if a is None or b is None or not f32_rows(node, a, b):
        return None
    tensors = _one_row(node, (a, b))
    return [Step(f"{node.op}:F32", node, tensors=tensors, cost=touched(node) * NS_PER_BYTE)]


@steps_of("SCALE", "CLAMP", "SQR", "SQRT", "UNARY", layout_only=True)
def function(node: Tensor, context: Context) -> list[Step] | None:
    """dst = f(a)."""
    a = source(node, 0)
    if a is None or not f32_rows(node, a):
        return None
    name = node.op
    if name == "UNARY":
        function_name = UNARY_NAMES[node.i32(0)]
        if function_name in HAVE_NO_KERNEL:
            return None
        name = f"UNARY:{function_name}"
    tensors = _one_row(node, (a,))
    return [Step(f"{name}:F32", node, tensors=tensors, cost=touched(node) * NS_PER_BYTE * COSTLY)]


@steps_of("GLU", layout_only=True)
def glu(node: Tensor, context: Context) -> list[Step] | None:
    """dst = f(gate) * up; the kernel gets gate and up as two tensors."""
    a, b = source(node, 0), source(node, 1)
    if a is None or not f32_rows(node, a, b):
        return None
    if b is not None:
        gate, up = a, b
    else:
        half = 4 * node.ne[0]
        offsets = (half, 0) if node.i32(1) else (0, half)
        gate, up = (moved(a, offset, node.ne) for offset in offsets)
    cost = touched(node) * NS_PER_BYTE * COSTLY
    tensors = _one_row(node, (gate, up))
    return [Step(f"GLU:{GLU_NAMES[node.i32(0)]}:F32", node, tensors=tensors, cost=cost)]


@steps_of("ADD_ID", layout_only=True)
def add_id(node: Tensor, context: Context) -> list[Step] | None:
    """dst = a + b[ids]."""
    a, b = source(node, 0), source(node, 1)
    if not f32_rows(node, a, b):
        return None
    return [Step("ADD_ID:F32", node, cost=touched(node) * NS_PER_BYTE)]
