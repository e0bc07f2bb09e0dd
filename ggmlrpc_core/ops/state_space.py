"""State space models: SSM_CONV, SSM_SCAN."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import Ids, Leading, i32, op, source
from ggmlrpc_core.ops.rules import divides, result_ne
from ggmlrpc_core.ops.taps import sizes_in_range
from ggmlrpc_core.ops.values import present


def _check_ssm_conv(c: Nodes) -> None:
    sizes_in_range(c, 0, 1)
    x, w = c.src(0), c.src(1)
    c.require(x.ne[:, 3] == 1, "src[0].ne[3]", x.ne[:, 3], "1")
    c.require((w.ne[:, 2:] == 1).all(axis=1), "src[1].ne", w.ne, "a matrix")
    c.require(w.ne[:, 1] == x.ne[:, 1], "src[1].ne[1]", w.ne[:, 1], "src[0].ne[1]")
    tokens = x.ne[:, 0] - w.ne[:, 0] + 1
    rule = "[src[0].ne[1], src[0].ne[0] - src[1].ne[0] + 1, src[0].ne[2], 1]"
    result_ne(c, (x.ne[:, 1], tokens, x.ne[:, 2], 1), rule)


@op(
    "SSM_CONV",
    sources=[source("x", "F32"), source("weights", "F32")],
    result="F32",
    check=_check_ssm_conv,
    precision="sums in f32; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_ssm_conv_f32",
)
def ssm_conv(xp: Any, node: Tensor, x: Any, weights: Any) -> Any:
    """Slide one kernel per channel over the tokens of each sequence.

    x: [d_conv - 1 + t, d_inner, s]; weights: [d_conv, d_inner]; result [d_inner, t, s].
    """
    tokens = node.ne[1]
    total = xp.zeros((*x.shape[1:3], tokens), dtype=xp.float32)
    for tap in range(weights.shape[3]):
        total = total + x[0, :, :, tap : tap + tokens] * weights[0, :, :, tap : tap + 1]
    return xp.swapaxes(total, 1, 2).reshape(node.shape)


def _check_ssm_scan(c: Nodes) -> None:
    state, x, dt, a, b, cc, ids = (c.src(slot) for slot in range(7))
    sizes_in_range(c, *range(7))
    d_state, (dim, heads, tokens, seqs) = state.ne[:, 0], x.ne.T
    for d, n, rule in ((1, dim, "src[1].ne[0]"), (2, heads, "src[1].ne[1]")):
        c.require(state.ne[:, d] == n, f"src[0].ne[{d}]", state.ne[:, d], rule)
    ok = (dt.ne[:, 0] == heads) & (dt.ne[:, 1] == tokens) & (dt.ne[:, 2] == seqs)
    ok &= dt.ne[:, 3] == 1
    c.require(ok, "src[2].ne", dt.ne, "[src[1].ne[1], src[1].ne[2], src[1].ne[3], 1]")
    ok = ((a.ne[:, 0] == 1) | (a.ne[:, 0] == d_state)) & (a.ne[:, 1] == heads)
    ok &= (a.ne[:, 2:] == 1).all(axis=1)
    c.require(ok, "src[3].ne", a.ne, "[1 or src[0].ne[0], src[1].ne[1], 1, 1]")
    ok = (b.ne[:, 0] == d_state) & divides(b.ne[:, 1], heads)
    ok &= (b.ne[:, 2] == tokens) & (b.ne[:, 3] == seqs)
    rule = "[src[0].ne[0], a divisor of src[1].ne[1], src[1].ne[2], src[1].ne[3]]"
    c.require(ok, "src[4].ne", b.ne, rule)
    c.require((cc.ne == b.ne).all(axis=1), "src[5].ne", cc.ne, "src[4].ne")
    ok = (ids.ne[:, 0] == seqs) & (ids.ne[:, 1:] == 1).all(axis=1)
    c.require(ok, "src[6].ne", ids.ne, "[src[1].ne[3], 1, 1, 1]")
    slots = c.i32(0)
    c.require(slots >= 0, "slots", slots, "at least 0 (0 counts as 1)")
    one = slots <= 1
    c.require(one | (a.ne[:, 0] == 1), "slots", slots, "1 when src[3].ne[0] is not 1")
    # Divided, not multiplied: a product with sequences and slots could overflow.
    kept, each = c.ne[:, 0] - x.nelements, d_state * dim * heads
    states = kept // each
    ok = divides(each, kept) & divides(seqs, states) & (states // seqs == slots.clip(1))
    ok &= (c.ne[:, 1:] == 1).all(axis=1)
    rule = "[elements of src[1] + slots * d_state * dim * heads * sequences, 1, 1, 1]"
    c.require(ok, "ne", c.ne, rule)


@op(
    "SSM_SCAN",
    sources=[
        source("state", "F32"),
        source("x", "F32"),
        source("dt", "F32"),
        source("a", "F32"),
        source("b", "F32"),
        source("c", "F32"),
        source("ids", "I32"),
    ],
    result="F32",
    params=[i32(0, "slots")],
    check=_check_ssm_scan,
    ids=Ids(6, lambda node: present(node.src[0]).ne[3]),
    precision="f32; nmse <= 1e-6",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_ssm_scan_f32",
)
def ssm_scan(
    xp: Any, node: Tensor, state: Any, x: Any, dt: Any, a: Any, b: Any, c: Any, ids: Any, *, slots: int
) -> Any:  # fmt: skip
    """Selective scan: each token decays the state and adds to it.

    state: [d_state, dim, heads, at least s]; x: [dim, heads, t, s]; dt: [heads, t, s]; a: [d_state or 1, heads]; b, c:
    [d_state, groups, t, s], head h uses group h / (heads / groups); ids: [s], the state that a sequence starts from.
    d = softplus(dt); state = state * exp(d * a) + b * x * d; y = sum of state * c. The result holds y as x is laid out,
    then `slots` states of all sequences: slot j is j tokens back. Slots that would be older than the first token keep
    what was in memory.
    """
    seqs, tokens, heads, _ = x.shape
    times = heads // b.shape[2]
    s = xp.take(state, ids.reshape(-1), axis=0)
    step = xp.logaddexp(dt[0], xp.zeros_like(dt[0])).reshape(seqs, tokens, heads, 1, 1)
    decay = a.reshape(1, heads, 1, a.shape[3])
    outputs, kept = [], []
    for t in range(tokens):
        d = step[:, t]
        into = xp.repeat(b[:, t], times, axis=1).reshape(seqs, heads, 1, -1)
        out = xp.repeat(c[:, t], times, axis=1).reshape(seqs, heads, 1, -1)
        s = s * xp.exp(d * decay) + into * (x[:, t].reshape(seqs, heads, -1, 1) * d)
        outputs.append(xp.sum(s * out, axis=-1))
        if tokens - t <= max(slots, 1):
            kept.append(s)
    parts = [xp.stack(outputs, axis=1), *reversed(kept)]
    values = xp.concatenate([part.reshape(-1) for part in parts])
    return values.reshape(node.shape) if values.shape[0] == node.ne[0] else Leading(values)
