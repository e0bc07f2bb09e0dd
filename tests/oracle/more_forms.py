"""A random node of each op of sequences and training, and of the rarer ops on rows; see forms.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle.shapes import Draw, Form, Source, block_of, divisors, extents, ids

from ggmlrpc_core.ops.declare import QUANTS

Drawn = Callable[[Draw], Form]


def same(name: str, n: int = 1, **params: float) -> Drawn:
    """n F32 sources of the node's shape."""

    def form(d: Draw) -> Form:
        ne = (d.int(1, 20), *extents(d, 3)[1:])
        return Form(
            name,
            "F32",
            ne,
            [Source("F32", ne)] * n,
            {int(k[1:]): v for k, v in params.items()},
            nmse=1e-7,
        )

    return form


def clamp(d: Draw) -> Form:
    kind, ne = d.pick("F32", "F16"), extents(d)
    return Form(
        "CLAMP", kind, ne, [Source(kind, ne)], {0: -0.5, 1: d.pick(0.5, float("inf"))}, inplace=True
    )


def add1(d: Draw) -> Form:
    a, b = d.pick(("F32", "F32"), ("F16", "F32"), ("F16", "F16"), ("BF16", "F32"), ("BF16", "BF16"))
    ne = extents(d)
    return Form("ADD1", a, ne, [Source(a, ne), Source(b, (1,))], inplace=True)


def count_equal(d: Draw) -> Form:
    ne = extents(d)
    return Form("COUNT_EQUAL", "I64", (1,), [ids(d, 3, *ne), ids(d, 3, *ne)])


def repeat_back(d: Draw) -> Form:
    ne = extents(d, 3)
    return Form("REPEAT_BACK", "F32", ne, [Source("F32", tuple(n * d.int(1, 3) for n in ne))])


def pad_reflect(d: Draw) -> Form:
    ne = extents(d, 6)
    left, right = d.int(0, ne[0] - 1), d.int(0, ne[0] - 1)
    y = (ne[0] + left + right, *ne[1:])
    return Form("PAD_REFLECT_1D", "F32", y, [Source("F32", ne)], {0: left, 1: right}, nmse=0.0)


def roll(d: Draw) -> Form:
    ne = extents(d, 4)
    return Form(
        "ROLL",
        "F32",
        ne,
        [Source("F32", ne)],
        {k: d.int(1 - n, n - 1) for k, n in enumerate(ne)},
        nmse=0.0,
    )


def diag(d: Draw) -> Form:
    ne = extents(d, 5)
    a = (ne[0], 1, *ne[2:])
    return Form("DIAG", "F32", (ne[0], ne[0], *ne[2:]), [Source("F32", a, special=False)], nmse=0.0)


def tri(d: Draw) -> Form:
    ne = extents(d, 5)
    ne = (ne[0], ne[0], *ne[2:])
    return Form("TRI", "F32", ne, [Source("F32", ne)], {0: d.int(0, 3)}, nmse=0.0)


def arange(d: Draw) -> Form:
    n, step = d.int(1, 20), d.pick(1.0, 0.5, -0.25)
    return Form("ARANGE", "F32", (n,), [], {0: 2.0, 1: 2.0 + n * step, 2: step})


def timestep(d: Draw) -> Form:
    n, dim = d.int(1, 5), d.int(1, 9)
    return Form(
        "TIMESTEP_EMBEDDING",
        "F32",
        (dim, n),
        [Source("F32", (n,), special=False)],
        {0: dim, 1: 100},
    )


def get_rows_back(d: Draw) -> Form:
    n, count, total = d.int(1, 6), d.int(1, 6), d.int(1, 5)
    src = [Source("F32", (n, count)), ids(d, total, count)]
    return Form("GET_ROWS_BACK", "F32", (n, total), src)


def ssm_conv(d: Draw) -> Form:
    taps, t, inner, s = d.int(1, 4), d.int(1, 4), d.int(1, 5), d.int(1, 3)
    src = [
        Source("F32", (taps - 1 + t, inner, s), special=False),
        Source("F32", (taps, inner), special=False),
    ]
    return Form("SSM_CONV", "F32", (inner, t, s), src)


def ssm_scan(d: Draw) -> Form:
    n, dim, groups, t, s, extra = (d.int(1, k) for k in (5, 3, 2, 4, 2, 2))
    heads = groups * d.int(1, 2)
    slots, a0 = d.int(0, 3), 1
    if slots <= 1:
        a0 = d.pick(1, n)
    ne = (dim * heads * t * s + max(slots, 1) * n * dim * heads * s,)
    plain = lambda *shape: Source("F32", shape, special=False)  # noqa: E731
    src = [
        plain(n, dim, heads, s + extra), plain(dim, heads, t, s), plain(heads, t, s), plain(a0, heads),
        plain(n, groups, t, s), plain(n, groups, t, s), ids(d, s + extra, s),
    ]  # fmt: skip
    return Form("SSM_SCAN", "F32", ne, src, {0: slots}, nmse=1e-8)


def recurrent(name: str, n_inputs: int) -> Drawn:
    """RWKV and gated linear attention."""

    def form(d: Draw) -> Form:
        size, heads, seqs = d.int(1, 5), d.int(1, 3), d.int(1, 2)
        tokens = seqs * d.int(1, 3)
        x = Source("F32", (size, heads, tokens), special=False)
        src = [x] * n_inputs
        if name == "RWKV_WKV6":
            src[3] = Source("F32", (size, heads), special=False)
        src = [*src, Source("F32", (size * size * heads, seqs), special=False)]
        params = {0: 0.5} if name == "GATED_LINEAR_ATTN" else {}
        return Form(name, "F32", (size * heads, tokens + size * seqs), src, params, nmse=1e-8)

    return form


def gated_delta_net(d: Draw) -> Form:
    size, heads_k, t, s, slots = (d.int(1, k) for k in (5, 2, 4, 2, 5))
    heads = heads_k * d.int(1, 2)
    q = Source("F32", (size, heads_k, t, s), special=False)
    v = Source("F32", (size, heads, t, s), special=False)
    gate = Source("F32", (d.pick(1, size), heads, t, s), special=False)
    src = [
        q,
        q,
        v,
        gate,
        Source("F32", (1, heads, t, s), special=False),
        Source("F32", (size, size, heads, s), special=False),
    ]
    return Form(
        "GATED_DELTA_NET",
        "F32",
        (size * heads, t * s + slots * size * s),
        src,
        {0: slots},
        nmse=1e-7,
    )


def solve_tri(d: Draw) -> Form:
    n, m, outer = d.int(1, 5), d.int(1, 5), (d.int(1, 2), d.int(1, 2))
    rng = np.random.default_rng(d.int(0, 1 << 30))
    a = rng.standard_normal((*outer[::-1], n, n)) / 4 + 2 * np.eye(n)
    b = Source("F32", (m, n, *outer), special=False)
    return Form("SOLVE_TRI", "F32", b.ne, [Source("F32", (n, n, *outer), a), b])


def indexer(d: Draw) -> Form:
    kind = d.pick("F32", "F16", *QUANTS)
    size, heads, t, kv, s = block_of(kind), d.int(1, 3), d.int(1, 3), d.int(1, 5), d.int(1, 2)
    src = [
        Source("F32", (size, heads, t, s)), Source(kind, (size, 1, kv, s), special=False),
        Source("F32", (heads, t, 1, s), special=False), Source("F16", (kv, t, 1, *divisors(d, (s,)))),
    ]  # fmt: skip
    return Form("LIGHTNING_INDEXER", "F32", (kv, t, 1, s), src, nmse=1e-8)


def hc_comb(d: Draw) -> Form:
    t = d.int(1, 4)
    src = [
        Source("F32", (24, t)),
        Source("F32", (3,), special=False),
        Source("F32", (24,), special=False),
    ]
    return Form("DSV4_HC_COMB", "F32", (4, 4, t), src, {0: 1e-6, 1: d.int(1, 5)})


def hc_pre(d: Draw) -> Form:
    n, hc, t, gated = d.int(1, 6), d.int(1, 4), d.int(1, 3), d.int(0, 1)
    src = [
        Source("F32", (n, hc, t)),
        Source("F32", (n, hc, t) if gated else (hc, t), special=False),
    ]
    return Form("DSV4_HC_PRE", "F32", (n, t), src, {0: 0.5, 1: gated})


def hc_post(d: Draw) -> Form:
    n, hc, t = d.int(1, 6), d.int(1, 4), d.int(1, 3)
    src: list[Source | None] = [
        Source("F32", (n, t)),
        Source("F32", (n, hc, t)),
        Source("F32", (hc, t)),
    ]
    src.append(Source("F32", (hc, hc, t)) if d.int(0, 1) else None)
    return Form("DSV4_HC_POST", "F32", (n, hc, t), src)


def loss_back(d: Draw) -> Form:
    x = Source("F32", extents(d, 5), special=False)
    return Form("CROSS_ENTROPY_LOSS_BACK", "F32", x.ne, [Source("F32", (1,)), x, x])


def loss(d: Draw) -> Form:
    x = Source("F32", extents(d, 5), special=False)
    return Form("CROSS_ENTROPY_LOSS", "F32", (1,), [x, x])


def attention_back(d: Draw) -> Form:
    size, tokens, groups, s = (d.int(1, k) for k in (5, 3, 2, 2))
    kv, heads = tokens + d.int(0, 3), groups * d.int(1, 2)
    q, k, v = (size, tokens, heads, s), (size, kv, groups, s), (kv, size, groups, s)
    total = sum(-(-int(np.prod(ne)) // 4) * 4 for ne in (q, k, v))
    src = [Source("F32", ne, special=False) for ne in (q, k, v, q)]
    return Form("FLASH_ATTN_BACK", "F32", (total,), src, {0: d.int(0, 1)}, nmse=1e-8)


def step(name: str, values: list[float], n: int) -> Drawn:
    """Optimizer steps; the result lies on the weights."""

    def form(d: Draw) -> Form:
        x = Source("F32", extents(d), special=False)
        square = Source(
            "F32", x.ne, np.square(np.random.default_rng(d.int(0, 99)).standard_normal(x.ne[::-1]))
        )
        src = [*[x, x, x, square][:n], Source("F32", (len(values),), np.array(values))]
        return Form(name, "F32", x.ne, src, within=0)

    return form


MORE_FORMS: dict[str, Drawn] = {
    "CLAMP": clamp, "ADD1": add1, "COUNT_EQUAL": count_equal, "REPEAT_BACK": repeat_back, "PAD_REFLECT_1D": pad_reflect,
    "ROLL": roll, "DIAG": diag, "TRI": tri, "ARANGE": arange, "TIMESTEP_EMBEDDING": timestep,
    "GET_ROWS_BACK": get_rows_back,
    "SSM_CONV": ssm_conv, "SSM_SCAN": ssm_scan,
    "RWKV_WKV6": recurrent("RWKV_WKV6", 5), "RWKV_WKV7": recurrent("RWKV_WKV7", 6),
    "GATED_LINEAR_ATTN": recurrent("GATED_LINEAR_ATTN", 4), "GATED_DELTA_NET": gated_delta_net,
    "SOLVE_TRI": solve_tri, "LIGHTNING_INDEXER": indexer, "DSV4_HC_COMB": hc_comb, "DSV4_HC_PRE": hc_pre,
    "DSV4_HC_POST": hc_post, "SILU_BACK": same("SILU_BACK", 2), "RMS_NORM_BACK": same("RMS_NORM_BACK", 2, p0=1e-5),
    "SOFT_MAX_BACK": same("SOFT_MAX_BACK", 2, p0=0.5, p1=0.0), "CROSS_ENTROPY_LOSS": loss,
    "CROSS_ENTROPY_LOSS_BACK": loss_back, "FLASH_ATTN_BACK": attention_back,
    "OPT_STEP_ADAMW": step("OPT_STEP_ADAMW", [0.01, 0.9, 0.99, 1e-6, 0.1, 1.5, 1.2], 4),
    "OPT_STEP_SGD": step("OPT_STEP_SGD", [0.1, 0.01], 2),
}  # fmt: skip
