"""Ops of DeepSeek models: LIGHTNING_INDEXER, DSV4_HC_COMB, DSV4_HC_PRE, DSV4_HC_POST.

Hyper-connections carry several residual streams; `hc` is their number.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, QUANTS, f32, i32, op, source
from ggmlrpc_core.ops.rules import divides, extent, result_ne
from ggmlrpc_core.ops.taps import sizes_in_range
from ggmlrpc_core.ops.values import floats

STREAMS = 4
"""The number of streams that DSV4_HC_COMB is made for."""
MIXES = (2 + STREAMS) * STREAMS
MAX_ITERATIONS = 65536
"""More would only keep the server busy: the result stands still long before."""


def _check_lightning_indexer(c: Nodes) -> None:
    q, k, weights, mask = (c.src(slot) for slot in range(4))
    sizes_in_range(c, 0, 1, 2, 3)
    ok = (k.ne[:, 0] == q.ne[:, 0]) & (k.ne[:, 1] == 1) & (k.ne[:, 3] == q.ne[:, 3])
    c.require(ok, "src[1].ne", k.ne, "[src[0].ne[0], 1, any, src[0].ne[3]]")
    ok = (weights.ne[:, 0] == q.ne[:, 1]) & (weights.ne[:, 1] == q.ne[:, 2])
    ok &= (weights.ne[:, 2] == 1) & (weights.ne[:, 3] == q.ne[:, 3])
    c.require(ok, "src[2].ne", weights.ne, "[src[0].ne[1], src[0].ne[2], 1, src[0].ne[3]]")
    ok = (mask.ne[:, 0] == k.ne[:, 2]) & (mask.ne[:, 1] == q.ne[:, 2])
    ok &= (mask.ne[:, 2] == 1) & divides(mask.ne[:, 3], q.ne[:, 3])
    c.require(
        ok, "src[3].ne", mask.ne, "[src[1].ne[2], src[0].ne[2], 1, a divisor of src[0].ne[3]]"
    )
    rule = "[src[1].ne[2], src[0].ne[2], 1, src[0].ne[3]]"
    result_ne(c, (k.ne[:, 2], q.ne[:, 2], 1, q.ne[:, 3]), rule)


@op(
    "LIGHTNING_INDEXER",
    sources=[
        source("q", "F32"),
        source("k", *FLOATS, *QUANTS),
        source("weights", "F32"),
        source("mask", "F16"),
    ],
    result="F32",
    check=_check_lightning_indexer,
    precision="products and sums in f32; nmse <= 1e-6",
    since="2026-07-11",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_lightning_indexer",
)
def lightning_indexer(xp: Any, node: Tensor, q: Any, k: Any, weights: Any, mask: Any) -> Any:
    """How much each key matters to each token: sum over heads of max(0, q . k) * weight, plus mask.

    q: [d, heads, t, s]; k: [d, 1, kv, s]; weights: [heads, t, 1, s]; mask: [kv, t, 1, a divisor of s], taken modulo;
    result [kv, t, 1, s].
    """
    streams, _, heads, _ = q.shape
    scores = []
    for i in range(streams):
        keys = xp.swapaxes(floats(xp, k[i, :, 0], node.src[1]), 0, 1)
        total = floats(xp, mask[i % mask.shape[0], 0], node.src[3])
        part = xp.zeros_like(total)
        for h in range(heads):
            product = xp.matmul(q[i, :, h], keys)
            part = part + xp.where(product > 0, product, 0.0) * weights[i, 0, :, h : h + 1]
        scores.append(part + total)
    return xp.stack(scores).reshape(node.shape)


def _check_hc_comb(c: Nodes) -> None:
    mixes, scale, base = (c.src(slot) for slot in range(3))
    sizes_in_range(c, 0, 1, 2)
    ok = (mixes.ne[:, 0] == MIXES) & (mixes.ne[:, 2:] == 1).all(axis=1)
    c.require(ok, "src[0].ne", mixes.ne, f"[{MIXES}, any, 1, 1]")
    ok = (scale.ne[:, 0] >= 3) & (scale.ne[:, 1:] == 1).all(axis=1)
    c.require(ok, "src[1].ne", scale.ne, "[at least 3, 1, 1, 1]")
    ok = (base.ne[:, 0] == MIXES) & (base.ne[:, 1:] == 1).all(axis=1)
    c.require(ok, "src[2].ne", base.ne, f"[{MIXES}, 1, 1, 1]")
    n = c.i32(1)
    ok = (n >= 1) & (n <= MAX_ITERATIONS)
    c.require(ok, "iterations", n, f"inside [1, {MAX_ITERATIONS}]")
    rule = f"[{STREAMS}, {STREAMS}, src[0].ne[1], 1]"
    result_ne(c, (STREAMS, STREAMS, mixes.ne[:, 1], 1), rule)


@op(
    "DSV4_HC_COMB",
    sources=[source("mixes", "F32"), source("scale", "F32"), source("base", "F32")],
    result="F32",
    params=[f32(0, "eps"), i32(1, "iterations")],
    check=_check_hc_comb,
    precision="f32; nmse <= 1e-6",
    since="2026-07-17",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_dsv4_hc_comb_f32",
)
def dsv4_hc_comb(
    xp: Any, node: Tensor, mixes: Any, scale: Any, base: Any, *, eps: float, iterations: int
) -> Any:
    """How streams mix: a matrix for each token, whose rows and columns are made to sum to 1 in turns.

    mixes: [24, t], of which 8 to 23 count; scale: [at least 3], of which 2 counts; base: [24]; result [4, 4, t],
    destination stream fast. Softmax over destinations of mixes * scale + base, plus eps; then columns (over sources),
    then rows and columns iterations - 1 times; each divides by its sum + eps.
    """
    first = 2 * STREAMS
    v = mixes[0, 0, :, first:] * scale[:, 0, :, 2:3].reshape(1, 1) + base[0, 0, :, first:]
    v = v.reshape(-1, STREAMS, STREAMS)
    v = xp.exp(v - xp.max(v, axis=2, keepdims=True))
    v = v / xp.sum(v, axis=2, keepdims=True) + eps
    for i in range(iterations):
        if i > 0:
            v = v / (xp.sum(v, axis=2, keepdims=True) + eps)
        v = v / (xp.sum(v, axis=1, keepdims=True) + eps)
    return v.reshape(node.shape)


def _check_hc_pre(c: Nodes) -> None:
    x, w = c.src(0), c.src(1)
    sizes_in_range(c, 0, 1)
    c.require(x.ne[:, 3] == 1, "src[0].ne[3]", x.ne[:, 3], "1")
    gated = c.i32(1) != 0
    whole = (w.ne == x.ne).all(axis=1)
    row = (w.ne[:, 0] == x.ne[:, 1]) & (w.ne[:, 1] == x.ne[:, 2]) & (w.ne[:, 2:] == 1).all(axis=1)
    c.require(whole | ~gated, "src[1].ne", w.ne, "src[0].ne when gated is 1")
    c.require(row | gated, "src[1].ne", w.ne, "[src[0].ne[1], src[0].ne[2], 1, 1] when gated is 0")
    result_ne(c, (x.ne[:, 0], x.ne[:, 2], 1, 1), "[src[0].ne[0], src[0].ne[2], 1, 1]")


@op(
    "DSV4_HC_PRE",
    sources=[source("x", "F32"), source("weights", "F32")],
    result="F32",
    params=[f32(0, "scale"), i32(1, "gated")],
    check=_check_hc_pre,
    precision="f32; nmse <= 1e-6",
    since="2026-07-17",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_dsv4_hc_pre_f32",
)
def dsv4_hc_pre(xp: Any, node: Tensor, x: Any, weights: Any, *, scale: float, gated: int) -> Any:
    """Streams to one: scale times the sum over streams of x * weight.

    x: [n, hc, t]; weights: [hc, t], or when gated [n, hc, t], taken through a sigmoid; result [n, t].
    """
    if gated:
        w = 1.0 / (1.0 + xp.exp(-weights[0]))
    else:
        w = weights[0, 0].reshape(weights.shape[2], weights.shape[3], 1)
    return (xp.sum(x[0] * w, axis=1) * scale).reshape(node.shape)


def _check_hc_post(c: Nodes) -> None:
    x, residual, post, comb = (c.src(slot) for slot in range(4))
    sizes_in_range(c, 0, 1, 2)
    n, tokens = x.ne[:, 0], x.ne[:, 1]
    c.require((x.ne[:, 2:] == 1).all(axis=1), "src[0].ne", x.ne, "a matrix")
    hc = residual.ne[:, 1]
    ok = (residual.ne[:, 0] == n) & (residual.ne[:, 2] == tokens) & (residual.ne[:, 3] == 1)
    c.require(ok, "src[1].ne", residual.ne, "[src[0].ne[0], any, src[0].ne[1], 1]")
    ok = (post.ne[:, 0] == hc) & (post.ne[:, 1] == tokens) & (post.ne[:, 2:] == 1).all(axis=1)
    c.require(ok, "src[2].ne", post.ne, "[src[1].ne[1], src[0].ne[1], 1, 1]")
    for d, size, rule in (
        (0, hc, "src[1].ne[1]"),
        (1, hc, "src[1].ne[1]"),
        (2, tokens, "src[0].ne[1]"),
    ):
        extent(c, comb, "src[3]", dim=d, equals=size, rule=rule)
    extent(c, comb, "src[3]", dim=3, equals=1, rule="1")
    result_ne(c, (n, hc, tokens, 1), "src[1].ne")


@op(
    "DSV4_HC_POST",
    sources=[
        source("x", "F32"),
        source("residual", "F32"),
        source("post", "F32"),
        source("comb", "F32", optional=True),
    ],
    result="F32",
    check=_check_hc_post,
    precision="f32; nmse <= 1e-6",
    since="2026-07-17",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_dsv4_hc_post_f32",
)
def dsv4_hc_post(xp: Any, node: Tensor, x: Any, residual: Any, post: Any, comb: Any) -> Any:
    """One to streams: x * post of the stream, plus the residual streams mixed by comb.

    x: [n, t]; residual: [n, hc, t]; post: [hc, t]; comb: [hc, hc, t], destination fast; result [n, hc, t]. Without comb
    each stream keeps its own residual.
    """
    _, tokens, hc, n = residual.shape
    mixed = residual[0]
    if comb is not None:
        mixed = xp.matmul(xp.swapaxes(comb[0], 1, 2), mixed)
    new = x.reshape(tokens, 1, n) * post.reshape(tokens, hc, 1)
    return (new + mixed).reshape(node.shape)
