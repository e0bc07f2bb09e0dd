"""Attention with a state instead of a cache: RWKV_WKV6, RWKV_WKV7, GATED_LINEAR_ATTN, GATED_DELTA_NET.

The first three put T tokens of several sequences, one sequence after the other, into one tensor, and return the outputs
followed by the final states as rows of S * H. S is the size of a head, H the number of heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import RowUpdate, f32, i32, op, source
from ggmlrpc_core.ops.rules import Rule, contiguous, divides, result_ne
from ggmlrpc_core.ops.taps import sizes_in_range

PRECISION = "f32; nmse <= 1e-6"


def _check_recurrent(*names: str) -> Rule:
    """Sources [S, H, T] of the shape of source 0, the last a state; "first" is one row for all tokens."""

    def check(c: Nodes) -> None:
        last = len(names) - 1
        sizes_in_range(c, *range(len(names)))
        contiguous(*range(len(names)))(c)
        a, state = c.src(0), c.src(last)
        size, heads, tokens = a.ne[:, 0], a.ne[:, 1], a.ne[:, 2]
        c.require(a.ne[:, 3] == 1, "src[0].ne[3]", a.ne[:, 3], "1")
        for slot in range(1, last):
            s = c.src(slot)
            if names[slot] == "first":
                rule = "src[0].ne[0] * src[0].ne[1] elements"
                c.require(s.nelements == size * heads, f"src[{slot}].ne", s.ne, rule)
            else:
                c.require((s.ne == a.ne).all(axis=1), f"src[{slot}].ne", s.ne, "src[0].ne")
        seqs = state.ne[:, 1]
        c.require(divides(seqs, tokens), f"src[{last}].ne[1]", seqs, "a divisor of src[0].ne[2]")
        # Divided, not multiplied: a product of four extents could overflow.
        each = size * heads * seqs
        ok = divides(each, state.nelements) & (state.nelements // each == size)
        rule = "src[0].ne[0] squared * src[0].ne[1] elements for each of ne[1] sequences"
        c.require(ok, f"src[{last}].ne", state.ne, rule)
        rule = "[src[0].ne[0] * src[0].ne[1], src[0].ne[2] + src[0].ne[0] * sequences, 1, 1]"
        result_ne(c, (size * heads, tokens + size * seqs, 1, 1), rule)

    return check


def _scan(
    xp: Any,
    node: Tensor,
    inputs: tuple[Any, ...],
    state: Any,
    step: Callable[..., tuple[Any, Any]],
) -> Any:
    """Run `step` over the tokens of all sequences at once.

    Args:
        inputs: raw [1, T, H, S] each.
        state: raw, S * S * H elements for each sequence.
        step: (state [seqs, H, S, S], one [seqs, H, S] for each input) to (output [seqs, H, S], new state).
    """
    _, n_tokens, heads, size = inputs[0].shape
    seqs = state.shape[2]
    split = [x.reshape(seqs, n_tokens // seqs, heads, size) for x in inputs]
    s = state.reshape(seqs, heads, size, size)
    outputs = []
    for t in range(n_tokens // seqs):
        y, s = step(s, *(x[:, t] for x in split))
        outputs.append(y)
    rows = xp.stack(outputs, axis=1).reshape(n_tokens, heads * size)
    return xp.concatenate([rows, s.reshape(seqs * size, heads * size)], axis=0).reshape(node.shape)


def _row(x: Any) -> Any:
    """[..., S] as [..., 1, S]."""
    return x.reshape(*x.shape[:-1], 1, x.shape[-1])


def _column(x: Any) -> Any:
    """[..., S] as [..., S, 1]."""
    return x.reshape(*x.shape, 1)


@op(
    "RWKV_WKV6",
    sources=[source(n, "F32") for n in ("k", "v", "r", "first", "decay", "state")],
    result="F32",
    check=_check_recurrent("k", "v", "r", "first", "decay", "state"),
    precision=PRECISION,
    since="2024-11-07",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_rwkv_wkv6_f32",
)
def rwkv_wkv6(xp: Any, node: Tensor, k: Any, v: Any, r: Any, first: Any, decay: Any, state: Any) -> Any:  # fmt: skip
    """Time mixing of RWKV 6.

    k, v, r, decay: [S, H, T]; first: [S, H]; state: S * S * H for each of ne[1] sequences, key index slow.
    y = sum over keys i of r_i * (first_i * k_i * v + s_i); s_i = s_i * decay_i + k_i * v.
    """
    bonus = _column(first.reshape(1, *k.shape[2:]))

    def step(s: Any, k: Any, v: Any, r: Any, decay: Any) -> tuple[Any, Any]:
        kv = _column(k) * _row(v)
        return xp.sum(_column(r) * (bonus * kv + s), axis=-2), s * _column(decay) + kv

    return _scan(xp, node, (k, v, r, decay), state, step)


@op(
    "GATED_LINEAR_ATTN",
    sources=[source(n, "F32") for n in ("k", "v", "q", "gate", "state")],
    result="F32",
    params=[f32(0, "scale")],
    check=_check_recurrent("k", "v", "q", "gate", "state"),
    precision=PRECISION,
    since="2025-01-10",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_gla_f32",
)
def gated_linear_attn(
    xp: Any, node: Tensor, k: Any, v: Any, q: Any, gate: Any, state: Any, *, scale: float
) -> Any:
    """Linear attention with a gate for each key element.

    k, v, q, gate: [S, H, T]; state: S * S * H for each of ne[1] sequences, key index slow.
    s_i = s_i * gate_i + k_i * v; y = sum over keys i of q_i * scale * s_i.
    """

    def step(s: Any, k: Any, v: Any, q: Any, gate: Any) -> tuple[Any, Any]:
        s = s * _column(gate) + _column(k) * _row(v)
        return xp.sum(_column(q * scale) * s, axis=-2), s

    return _scan(xp, node, (k, v, q, gate), state, step)


@op(
    "RWKV_WKV7",
    sources=[source(n, "F32") for n in ("r", "decay", "k", "v", "a", "b", "state")],
    result="F32",
    check=_check_recurrent("r", "decay", "k", "v", "a", "b", "state"),
    precision=PRECISION,
    since="2025-03-18",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_rwkv_wkv7_f32",
)
def rwkv_wkv7(
    xp: Any, node: Tensor, r: Any, decay: Any, k: Any, v: Any, a: Any, b: Any, state: Any
) -> Any:
    """Time mixing of RWKV 7.

    r, decay, k, v, a, b: [S, H, T]; state: S * S * H for each of ne[1] sequences, value index slow.
    s_i = s_i * decay + v_i * k + (a . s_i) * b for each value i; y_i = r . s_i.
    """

    def step(s: Any, r: Any, decay: Any, k: Any, v: Any, a: Any, b: Any) -> tuple[Any, Any]:
        removed = xp.sum(s * _row(a), axis=-1)
        s = s * _row(decay) + _column(v) * _row(k) + _column(removed) * _row(b)
        return xp.sum(s * _row(r), axis=-1), s

    return _scan(xp, node, (r, decay, k, v, a, b), state, step)


def _check_gated_delta_net(c: Nodes) -> None:
    q, k, v, gate, beta, state = (c.src(slot) for slot in range(6))
    sizes_in_range(c, *range(6))
    size, heads, tokens, seqs = v.ne.T
    for slot, s in ((0, q), (1, k)):
        ok = (s.ne[:, 0] == size) & (s.ne[:, 2] == tokens) & divides(s.ne[:, 3], seqs)
        rule = "[src[2].ne[0], any, src[2].ne[2], a divisor of src[2].ne[3]]"
        c.require(ok, f"src[{slot}].ne", s.ne, rule)
    ok = ((gate.ne[:, 0] == 1) | (gate.ne[:, 0] == size)) & (gate.ne[:, 1:] == v.ne[:, 1:]).all(
        axis=1
    )
    rule = "[1 or src[2].ne[0], src[2].ne[1], src[2].ne[2], src[2].ne[3]]"
    c.require(ok, "src[3].ne", gate.ne, rule)
    ok = (beta.ne[:, 0] == 1) & (beta.ne[:, 1:] == v.ne[:, 1:]).all(axis=1)
    rule = "[1, src[2].ne[1], src[2].ne[2], src[2].ne[3]]"
    c.require(ok, "src[4].ne", beta.ne, rule)
    ok = (state.ne[:, 0] == size) & (state.ne[:, 1] == size)
    ok &= (state.ne[:, 2] == heads) & (state.ne[:, 3] == seqs)
    rule = "[src[2].ne[0], src[2].ne[0], src[2].ne[1], src[2].ne[3]]"
    c.require(ok, "src[5].ne", state.ne, rule)
    slots = c.i32(0)
    c.require(slots >= 1, "slots", slots, "at least 1")
    # Divided, not multiplied: a product of the parameter could overflow.
    kept, each = c.ne[:, 1] - tokens * seqs, size * seqs
    ok = (c.ne[:, 0] == size * heads) & divides(each, kept) & (kept // each == slots)
    ok &= (c.ne[:, 2:] == 1).all(axis=1)
    rule = "[S * H, (tokens + slots * S) * sequences, 1, 1], src[2].ne [S, H, tokens, sequences]"
    c.require(ok, "ne", c.ne, rule)


@op(
    "GATED_DELTA_NET",
    sources=[source(n, "F32") for n in ("q", "k", "v", "gate", "beta", "state")],
    result="F32",
    params=[i32(0, "slots")],
    check=_check_gated_delta_net,
    precision=PRECISION,
    since="2026-03-07",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_gated_delta_net_f32",
)
def gated_delta_net(
    xp: Any, node: Tensor, q: Any, k: Any, v: Any, gate: Any, beta: Any, state: Any, *, slots: int
) -> Any:
    """Linear attention that replaces what the state holds for a key.

    q, k: [S, heads of q or k, t, a divisor of s]; v: [S, H, t, s]; gate: [1 or S, H, t, s]; beta: [1, H, t, s]; state:
    [S, S, H, s], key index fast. Head h uses q head h % heads; streams of q and k are shared by neighbours.
    state *= exp(gate); d = beta * (v - state . k); state += d k; y = state . q / sqrt(S). The result holds rows of
    S * H: t * s outputs, then `slots` states of all sequences: slot j is j tokens back. Slots that would be older than
    the first token keep what was in memory.
    """
    seqs, tokens, heads, size = v.shape
    q, k = (_shared(xp, x, seqs, heads) for x in (q, k))
    s = state
    outputs, kept = [], []
    for t in range(tokens):
        s = s * xp.exp(_row(gate[:, t]))
        delta = (v[:, t] - xp.sum(s * _row(k[:, t]), axis=-1)) * beta[:, t]
        s = s + _column(delta) * _row(k[:, t])
        outputs.append(xp.sum(s * _row(q[:, t]), axis=-1) * (1.0 / math.sqrt(size)))
        if tokens - t <= slots:
            kept.append(s)
    parts = [xp.stack(outputs, axis=1), *reversed(kept)]
    rows = xp.concatenate([part.reshape(-1, size * heads) for part in parts], axis=0)
    n_rows = rows.shape[0]
    rows = rows.reshape(1, 1, n_rows, size * heads)
    if n_rows == node.ne[1]:
        return rows
    return RowUpdate(rows=xp.arange(n_rows).reshape(1, 1, n_rows), values=rows)


def _shared(xp: Any, x: Any, seqs: int, heads: int) -> Any:
    """[n, t, h, S] for every sequence and head: sequences share by neighbours, heads by modulo."""
    if x.shape[0] != seqs:
        x = xp.repeat(x, seqs // x.shape[0], axis=0)
    if x.shape[2] != heads:
        x = xp.concatenate([x] * -(-heads // x.shape[2]), axis=2)[:, :, :heads]
    return x
