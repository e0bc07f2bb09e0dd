"""SOFT_MAX, and the ALiBi slopes that it shares with attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, f32, op, source
from ggmlrpc_core.ops.rules import contiguous, divides, same_shape
from ggmlrpc_core.ops.values import constant, floats, wide_sum


def alibi_slopes(n_head: int, max_bias: float) -> np.ndarray:
    """The factor of the mask for each head, f32 [n_head]; all 1 when max_bias is not above 0."""
    if not max_bias > 0.0:
        return np.ones(n_head, np.float32)
    power = 1 << (n_head.bit_length() - 1)
    head = np.arange(n_head)
    exponent = np.where(head < power, head + 1, (2 * (head - power) + 1) / 2)
    return np.float32(2.0) ** (-np.float32(max_bias) / power * exponent).astype(np.float32)


def _check_soft_max(c: Nodes) -> None:
    same_shape(c)
    a, mask, sinks = c.src(0), c.src(1), c.src(2)
    contiguous(0, 1)(c)
    if mask.present.any():
        absent = ~mask.present
        ok = absent | (mask.ne[:, 0] == a.ne[:, 0])
        c.require(ok, "src[1].ne[0]", mask.ne[:, 0], "src[0].ne[0]")
        ok = absent | (mask.ne[:, 1] >= a.ne[:, 1])
        c.require(ok, "src[1].ne[1]", mask.ne[:, 1], "at least src[0].ne[1]")
        for d in (2, 3):
            ok = absent | divides(mask.ne[:, d], a.ne[:, d])
            c.require(ok, f"src[1].ne[{d}]", mask.ne[:, d], f"a divisor of src[0].ne[{d}]")
    max_bias = c.f32(1)
    c.require(mask.present | ~(max_bias > 0), "max_bias", max_bias, "0 without a mask")
    if sinks.present.any():
        one_row = (sinks.ne[:, 0] == a.ne[:, 2]) & (sinks.nelements == sinks.ne[:, 0])
        c.require(one_row | ~sinks.present, "src[2].ne", sinks.ne, "[src[0].ne[2], 1, 1, 1]")


@op(
    "SOFT_MAX",
    sources=[
        source("a", *FLOATS),
        source("mask", "F16", "F32", optional=True),
        source("sinks", "F32", optional=True),
    ],
    result=None,
    params=[f32(0, "scale"), f32(1, "max_bias")],
    check=_check_soft_max,
    precision="exponentials in f32, summed in f64; nmse <= 1e-6",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_soft_max_f32",
)
def soft_max(
    xp: Any, node: Tensor, a: Any, mask: Any, sinks: Any, *, scale: float, max_bias: float
) -> Any:
    """Softmax of a * scale + slope * mask along rows.

    a: [n, rows, heads, s]; mask: [n, at least rows, m2, m3], repeated over heads and s; sinks: [heads], one more
    score for each row that takes part in maximum and sum but gives no result. A row that is all -inf gives NaN.
    """
    x = floats(xp, a, node.src[0]) * scale
    s3, heads, rows = x.shape[:3]
    if mask is not None:
        m = floats(xp, mask[:, :, :rows], node.src[1])
        m = xp.tile(m, (s3 // m.shape[0], heads // m.shape[1], 1, 1))
        x = x + m * constant(xp, alibi_slopes(heads, max_bias), np.float32).reshape(1, heads, 1, 1)
    highest = xp.max(x, axis=-1, keepdims=True)
    if sinks is not None:
        sinks = sinks.reshape(1, heads, 1, 1)
        highest = xp.maximum(highest, sinks)
    e = xp.exp(x - highest)
    total = wide_sum(xp, e, -1)
    if sinks is not None:
        total = total + xp.exp(sinks - highest)
    return e * (1.0 / total).astype(xp.float32)
