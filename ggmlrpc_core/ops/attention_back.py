"""FLASH_ATTN_BACK: the gradients of an attention without mask tensor.

Upstream's constructor refuses to build it since its forward op changed, but the kernel and the number are still there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import i32, op, source
from ggmlrpc_core.ops.rules import divides, result_ne
from ggmlrpc_core.ops.taps import sizes_in_range
from ggmlrpc_core.ops.values import constant, wide_sum

ALIGNMENT = 4
"""Elements; each gradient starts at a multiple of 16 bytes."""


def _padded(n: Any) -> Any:
    return -(-n // ALIGNMENT) * ALIGNMENT


def _check_flash_attn_back(c: Nodes) -> None:
    q, k, v, d = (c.src(slot) for slot in range(4))
    sizes_in_range(c, 0, 1, 2, 3)
    masked = c.i32(0)
    c.require((masked == 0) | (masked == 1), "masked", masked, "0 or 1")
    ok = (k.ne[:, 0] == q.ne[:, 0]) & divides(k.ne[:, 2], q.ne[:, 2]) & (k.ne[:, 3] == q.ne[:, 3])
    c.require(ok, "src[1].ne", k.ne, "[src[0].ne[0], any, a divisor of src[0].ne[2], src[0].ne[3]]")
    ok = (v.ne[:, 0] == k.ne[:, 1]) & (v.ne[:, 1] == k.ne[:, 0])
    ok &= (v.ne[:, 2:] == k.ne[:, 2:]).all(axis=1)
    c.require(ok, "src[2].ne", v.ne, "[src[1].ne[1], src[1].ne[0], src[1].ne[2], src[1].ne[3]]")
    c.require((d.ne == q.ne).all(axis=1), "src[3].ne", d.ne, "src[0].ne")
    c.require(k.ne[:, 1] >= q.ne[:, 1], "src[1].ne[1]", k.ne[:, 1], "at least src[0].ne[1]")
    size = _padded(q.nelements) + _padded(k.nelements) + _padded(v.nelements)
    result_ne(c, (size, 1, 1, 1), "the elements of src[0], src[1] and src[2], each padded to 4")


@op(
    "FLASH_ATTN_BACK",
    sources=[source(n, "F32") for n in ("q", "k", "v", "gradient")],
    result="F32",
    params=[i32(0, "masked")],
    check=_check_flash_attn_back,
    precision="products in f32, sums of the softmax in f64; nmse <= 1e-6",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_flash_attn_back_f32",
)
def flash_attn_back(
    xp: Any, node: Tensor, q: Any, k: Any, v: Any, gradient: Any, *, masked: int
) -> Any:
    """Gradients of q, k and v of softmax(q k / sqrt(D)) v, one after the other, each padded with zeros.

    q, gradient: [D, tokens, heads, s]; k: [D, kv, heads_k, s]; v: [kv, D, heads_k, s] (transposed). Head h uses k head
    h % heads_k. With `masked`, token i sees the keys up to kv - tokens + i.
    """
    seqs, heads, tokens, size = q.shape
    heads_k, n_kv = k.shape[1:3]
    scale = 1.0 / math.sqrt(size)
    seen = np.arange(n_kv)[None, :] <= np.arange(tokens)[:, None] + (n_kv - tokens)
    dq, dk, dv = [], [], []
    for i in range(seqs):
        rows: list[Any] = []
        for h in range(heads):
            keys, values = k[i, h % heads_k], v[i, h % heads_k]
            scores = xp.matmul(q[i, h], xp.swapaxes(keys, 0, 1)) * scale
            if masked:
                scores = xp.where(constant(xp, seen, np.bool_), scores, -np.inf)
            e = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
            weights = e * (1.0 / wide_sum(xp, e, -1)).astype(xp.float32)
            back = xp.matmul(gradient[i, h], values)
            back = (back - wide_sum(xp, back * weights, -1).astype(xp.float32)) * weights * scale
            dq.append(xp.matmul(back, keys))
            to_keys = xp.matmul(xp.swapaxes(back, 0, 1), q[i, h])
            to_values = xp.matmul(xp.swapaxes(gradient[i, h], 0, 1), weights)
            if h < heads_k:
                rows.append([to_keys, to_values])
            else:
                sums = rows[h % heads_k]
                rows[h % heads_k] = [sums[0] + to_keys, sums[1] + to_values]
        dk += [row[0] for row in rows]
        dv += [row[1] for row in rows]
    parts = []
    for part in (dq, dk, dv):
        flat = xp.stack(part).reshape(-1)
        parts += [flat, xp.zeros((_padded(flat.shape[0]) - flat.shape[0],), dtype=xp.float32)]
    return xp.concatenate(parts).reshape(node.shape)
