"""RMS_NORM (with the MUL that follows), NORM, L2_NORM, SUM_ROWS, SOFT_MAX on F32 (kernels/norm.py)."""

from __future__ import annotations

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.softmax import alibi_slopes
from ggmlrpc_cpu.families.layout import f32_rows, same_or_apart, source, tight_rows
from ggmlrpc_cpu.step import NS_PER_BYTE, Context, Step, steps_of, touched


@steps_of("RMS_NORM")
def rms_norm(node: Tensor, context: Context) -> list[Step] | None:
    """x / sqrt(mean(x^2) + eps), times the weight when the next node is that and nobody else reads x."""
    x = source(node, 0)
    if x is None or not f32_rows(node, x):
        return None
    cost = 2 * touched(node) * NS_PER_BYTE
    after = context.next
    if after is not None and after.op == "MUL":
        a, b = source(after, 0), source(after, 1)
        weight = b if a is node else a
        if (
            weight is not None
            and weight is not node
            and f32_rows(after, weight)
            and same_or_apart(after, x)
            and after.ne == node.ne
            and weight.ne[0] == node.ne[0]
            and all(n % w == 0 for n, w in zip(node.ne, weight.ne))
        ):
            context.fused = True
            tensors = (after, x, weight)
            return [
                Step(
                    "RMS_NORM_MUL:F32", after, tensors=tensors, op_params=node.op_params, cost=cost
                )
            ]
    return [Step("RMS_NORM:F32", node, cost=cost)]


@steps_of("NORM", "L2_NORM", "SUM_ROWS", layout_only=True)
def row_function(node: Tensor, context: Context) -> list[Step] | None:
    """One pass or two over each row."""
    if not f32_rows(node, source(node, 0)):
        return None
    return [Step(f"{node.op}:F32", node, cost=2 * touched(node) * NS_PER_BYTE)]


@steps_of("SOFT_MAX", layout_only=True)
def soft_max(node: Tensor, context: Context) -> list[Step] | None:
    """Softmax of each row of a * scale + slope * mask."""
    a, mask, sinks = source(node, 0), source(node, 1), source(node, 2)
    if a is None or not f32_rows(node, a, sinks) or not tight_rows(mask):
        return None
    half = mask is not None and mask.type.name == "F16"
    if mask is not None and not half and mask.type.name != "F32":
        return None
    slopes = np.ascontiguousarray(alibi_slopes(a.ne[2], node.f32(1)), np.float32)
    cost = 8 * touched(node) * NS_PER_BYTE
    return [Step("SOFT_MAX:F32", node, args=(int(half), slopes), cost=cost)]
