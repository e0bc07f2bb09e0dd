"""FLASH_ATTN_EXT: attention in one op, for one tile of queries of one head group at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, QUANTS, f32, i32, op, source
from ggmlrpc_core.ops.rules import contiguous, divides, result_ne
from ggmlrpc_core.ops.softmax import alibi_slopes
from ggmlrpc_core.ops.values import floats, wide_sum

TILE_BYTES = 16 << 20
"""Most f32 bytes of scores that are held at a time."""


LOWEST = float(np.finfo(np.float32).min)
"""Stands for the maximum of a row that is all -inf, so that its exponentials are 0 and not NaN."""


def _check_flash_attn_ext(c: Nodes) -> None:
    q, k, v, mask, sinks = (c.src(slot) for slot in range(5))
    c.require(k.ne[:, 0] == q.ne[:, 0], "src[1].ne[0]", k.ne[:, 0], "src[0].ne[0]")
    c.require(k.ne[:, 1] > 0, "src[1].ne[1]", k.ne[:, 1], "at least 1")
    c.require(v.ne[:, 1] == k.ne[:, 1], "src[2].ne[1]", v.ne[:, 1], "src[1].ne[1]")
    for slot, s in ((1, k), (2, v)):
        for d in (2, 3):
            ok = divides(s.ne[:, d], q.ne[:, d])
            c.require(ok, f"src[{slot}].ne[{d}]", s.ne[:, d], f"a divisor of src[0].ne[{d}]")
    absent = ~mask.present
    contiguous(3)(c)
    ok = absent | (mask.ne[:, 0] >= k.ne[:, 1])
    c.require(ok, "src[3].ne[0]", mask.ne[:, 0], "at least src[1].ne[1]")
    ok = absent | (mask.ne[:, 1] >= q.ne[:, 1])
    c.require(ok, "src[3].ne[1]", mask.ne[:, 1], "at least src[0].ne[1]")
    for d in (2, 3):
        ok = absent | divides(mask.ne[:, d], q.ne[:, d])
        c.require(ok, f"src[3].ne[{d}]", mask.ne[:, d], f"a divisor of src[0].ne[{d}]")
    max_bias = c.f32(1)
    c.require(~(absent & (max_bias > 0)), "max_bias", max_bias, "0 without a mask")
    ok = ~sinks.present | (sinks.ne[:, 0] == q.ne[:, 2]) & (sinks.nelements == sinks.ne[:, 0])
    c.require(ok, "src[4].ne", sinks.ne, "[src[0].ne[2], 1, 1, 1]")
    rule = "[src[2].ne[0], src[0].ne[2], src[0].ne[1], src[0].ne[3]]"
    result_ne(c, (v.ne[:, 0], q.ne[:, 2], q.ne[:, 1], q.ne[:, 3]), rule)


@op(
    "FLASH_ATTN_EXT",
    sources=[
        source("q", *FLOATS),
        source("k", *FLOATS, *QUANTS),
        source("v", *FLOATS, *QUANTS),
        source("mask", "F16", optional=True),
        source("sinks", "F32", optional=True),
    ],
    result="F32",
    params=[
        f32(0, "scale"),
        f32(1, "max_bias"),
        f32(2, "softcap"),
        i32(3, "precision"),
        i32(4, "n_kv_max"),
    ],
    check=_check_flash_attn_ext,
    precision="products and exponentials in f32, q unrounded; nmse <= 5e-4 against a backend that rounds it",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_flash_attn_ext",
)
def flash_attn_ext(
    xp: Any,
    node: Tensor,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    sinks: Any,
    *,
    scale: float,
    max_bias: float,
    softcap: float,
    precision: int,
    n_kv_max: int,
) -> Any:
    """Softmax of q times k, times v.

    q: [dk, tokens, heads, s]; k: [dk, kv, heads_k, s]; v: [dv, kv, heads_v, s]; sinks: [heads];
    mask: [at least kv, at least tokens, m2, m3]; result [dv, heads, tokens, s]. Head h uses k head
    h / (heads / heads_k), and v alike; mask heads and streams are taken modulo.

    score = softcap(q . k * scale) + slope * mask, where softcap(x) = c * tanh(x / c). A key whose mask is -inf is
    skipped, and a row without keys gives 0. The precision and n_kv_max hints are not needed.
    """
    s3, heads, tokens, _ = q.shape
    slopes = alibi_slopes(heads, max_bias)
    step = max(1, TILE_BYTES // (4 * k.shape[2]))
    streams = []
    for i3 in range(s3):
        per_head = []
        k_at = v_at = (-1, -1)
        for h in range(heads):
            if k_at != (k_at := (i3 // (s3 // k.shape[0]), h // (heads // k.shape[1]))):
                keys = xp.swapaxes(floats(xp, k[k_at], node.src[1]), 0, 1)
            if v_at != (v_at := (i3 // (s3 // v.shape[0]), h // (heads // v.shape[1]))):
                values = floats(xp, v[v_at], node.src[2])
            tiles = []
            for start in range(0, tokens, step):
                rows = slice(start, min(start + step, tokens))
                scores = xp.matmul(floats(xp, q[i3, h, rows], node.src[0]), keys)
                scores = scores * (scale / softcap if softcap != 0.0 else scale)
                if softcap != 0.0:
                    scores = xp.tanh(scores) * softcap
                if mask is not None:
                    part = mask[i3 % mask.shape[0], h % mask.shape[1], rows, : k.shape[2]]
                    bias = floats(xp, part, node.src[3]) * float(slopes[h])
                    # A masked key is skipped whatever its score is, NaN included.
                    scores = xp.where(bias == -np.inf, -np.inf, scores + bias)
                tiles.append(_attend(xp, scores, values, None if sinks is None else sinks[..., h]))
            per_head.append(tiles[0] if len(tiles) == 1 else xp.concatenate(tiles, axis=0))
        streams.append(xp.stack(per_head, axis=1))
    return xp.stack(streams, axis=0)


def _attend(xp: Any, scores: Any, values: Any, sink: Any) -> Any:
    """Weights of each row of scores applied to the values; f32 [rows, dv]."""
    highest = xp.max(scores, axis=-1, keepdims=True)
    if sink is not None:
        highest = xp.maximum(highest, sink.reshape(1, 1))
    highest = xp.maximum(highest, LOWEST)
    e = xp.exp(scores - highest)
    total = wide_sum(xp, e, -1)
    if sink is not None:
        total = total + xp.exp(sink.reshape(1, 1) - highest)
    # A row without keys is 0; NaN stays what it is.
    inverse = xp.where(total == 0, xp.zeros_like(total), 1.0 / total)
    return xp.matmul(e, values) * inverse.astype(xp.float32)
