"""A random node of each op of products, attention, rotation and picked rows; see forms.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle.shapes import Draw, Form, Source, block_of, divisors, extents, ids

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.ops.declare import ENCODABLE, FLOATS, QUANTS

WEIGHTS = [t.name for t in TYPES.values() if t.dot]


def soft_max(d: Draw) -> Form:
    ne = (d.int(1, 40), *extents(d, 4)[1:])
    src: list[Source | None] = [Source("F32", ne), None, None]
    params = {0: d.pick(1.0, 0.25), 1: 0.0}
    if d.int(0, 2):
        shape = (ne[0], ne[1] + d.int(0, 2), *divisors(d, ne[2:]))
        src[1] = Source(d.pick("F16", "F32"), shape, _mask(d, shape))
        params[1] = d.pick(0.0, 8.0)
    if d.int(0, 1):
        src[2] = Source("F32", (ne[2],))
    return Form("SOFT_MAX", "F32", ne, src, params, inplace=True)


def _mask(d: Draw, ne: tuple[int, ...]) -> np.ndarray:
    """Some keys -inf, some rows wholly so, in places NaN."""
    rng = np.random.default_rng(d.int(0, 1 << 30))
    mask = np.where(rng.random(ne[::-1]) < 0.4, -np.inf, np.round(rng.standard_normal(ne[::-1]), 1))
    kind = d.int(0, 3)
    if kind == 1:
        mask[:, :, rng.integers(mask.shape[2])] = -np.inf
    elif kind == 2:
        mask[..., rng.integers(mask.shape[2]), rng.integers(mask.shape[3])] = np.nan
    return mask


def flash_attn(d: Draw) -> Form:
    kind_k, kind_v = d.pick("F16", "F32", "Q8_0", "Q4_0", "BF16"), d.pick("F16", "F32", "Q8_0")
    block = max(block_of(kind_k), block_of(kind_v))
    dk, dv = block * d.int(1, 2), block * d.int(1, 2)
    tokens, kv, streams, heads_k, group = (d.int(1, n) for n in (4, 7, 2, 2, 3))
    heads = heads_k * group
    src: list[Source | None] = [
        Source("F32", (dk, tokens, heads, streams), special=False),
        Source(kind_k, (dk, kv, heads_k, streams), special=False),
        Source(kind_v, (dv, kv, heads_k, streams), special=False),
        None, None,
    ]  # fmt: skip
    params = {0: 1 / dk**0.5, 1: 0.0, 2: d.pick(0.0, 5.0), 3: 0, 4: 0}
    if d.int(0, 2):
        shape = (kv + d.int(0, 2), tokens + d.int(0, 2), *divisors(d, (heads, streams)))
        src[3] = Source("F16", shape, _mask(d, shape))
        params[1] = d.pick(0.0, 4.0)
    if d.int(0, 1):
        src[4] = Source("F32", (heads,), special=False)
    return Form("FLASH_ATTN_EXT", "F32", (dv, heads, tokens, streams), src, params, nmse=1e-6)


def mul_mat(d: Draw) -> Form:
    kind = d.pick(*WEIGHTS)
    k, m, n = (
        block_of(kind) * d.int(1, 2 if TYPES[kind].quantized else 40),
        d.int(1, 5),
        d.int(1, 5),
    )
    outer = (d.int(1, 2), d.int(1, 2))
    b = (k, n, outer[0] * d.int(1, 3), outer[1] * d.int(1, 2))
    return Form(
        "MUL_MAT",
        "F32",
        (m, *b[1:]),
        [Source(kind, (k, m, *outer)), Source("F32", b, special=not TYPES[kind].quantized)],
        nmse=1e-9,
    )


def mul_mat_id(d: Draw) -> Form:
    kind = d.pick(*WEIGHTS)
    k, m, experts = block_of(kind) * d.int(1, 2), d.int(1, 5), d.int(1, 4)
    used, tokens = d.int(1, 3), d.int(1, 4)
    src = [
        Source(kind, (k, m, experts)),
        Source("F32", (k, d.pick(1, used), tokens), special=not TYPES[kind].quantized),
        ids(d, experts, used, tokens),
    ]
    return Form("MUL_MAT_ID", "F32", (m, used, tokens), src, nmse=1e-9)


def out_prod(d: Draw) -> Form:
    kind = d.pick("F32", "F16", *QUANTS)
    m, k, n = block_of(kind) * d.int(1, 2), d.int(1, 4), d.int(1, 4)
    outer = (d.int(1, 2), d.int(1, 2))
    b = (n, k, outer[0] * d.int(1, 2), outer[1])
    return Form(
        "OUT_PROD",
        "F32",
        (m, n, *b[2:]),
        [Source(kind, (m, k, *outer)), Source("F32", b, special=not TYPES[kind].quantized)],
        nmse=1e-9,
    )


def rope(name: str) -> Callable[[Draw], Form]:
    """Every mode, with and without YaRN and factors."""

    def form(d: Draw) -> Form:
        mode = d.pick(0, 2, 8, 24, 40)
        ne0 = 2 * d.int(2, 12)
        n_dims = ne0 // 2 if mode == 24 else 2 * d.int(1, ne0 // 2)
        if mode == 24:
            n_dims, ne0 = n_dims // 2 * 2, n_dims // 2 * 4
        skip = 0 if mode == 24 else 2 * d.int(0, (ne0 - n_dims) // 2)
        ne = (ne0, *extents(d, 3)[1:])
        kind = d.pick("F32", "F16")
        pos = np.array([d.int(0, 2000) for _ in range(ne[2] * (4 if mode & 8 else 1))])
        n_pairs = n_dims if mode == 24 else n_dims // 2
        src: list[Source | None] = [Source(kind, ne), Source("I32", (len(pos),), pos), None]
        if d.int(0, 1):
            src[2] = Source("F32", (n_pairs,), 1 + np.arange(n_pairs) / 7)
        params: dict[int, int | float] = {
            1: n_dims,
            2: mode,
            4: 512,
            5: 10000.0,
            6: d.pick(1.0, 0.5),
            7: d.pick(0.0, 1.0),
        }
        params |= {8: d.pick(1.0, 0.75), 9: 32.0, 10: 1.0, 15: skip}
        if mode & 8:
            least = int(
                mode == 24
            )  # empty sections of a picture share a start, which stock resolves its own way
            params |= {11: d.int(1, 2), 12: d.int(least, 1), 13: d.int(least, 1), 14: 0}
        return Form(name, kind, ne, src, params, inplace=True, nmse=1e-9)

    return form


def get_rows(d: Draw) -> Form:
    kind = d.pick("F32", "F16", "BF16", "I32", *QUANTS)
    a = (block_of(kind) * d.int(1, 2), *extents(d, 4)[1:])
    count = d.int(1, 6)
    y = "I32" if kind == "I32" else "F32"
    src = [Source(kind, a), ids(d, a[1], count, a[2], a[3])]
    return Form("GET_ROWS", y, (a[0], count, a[2], a[3]), src, nmse=0.0)


def set_rows(d: Draw) -> Form:
    kind = d.pick(*FLOATS, *ENCODABLE)
    a = "F16" if kind == "F16" and d.int(0, 1) else "F32"
    ne = (block_of(kind) * d.int(1, 2), *extents(d, 4)[1:])
    count = d.int(1, ne[1])
    outer = divisors(d, ne[2:])
    listed = ids(d, ne[1], count, *outer, type=d.pick("I64", "I32"), distinct=True)
    values = Source(a, (ne[0], count, *ne[2:]), special=kind in FLOATS)
    return Form(
        "SET_ROWS", kind, ne, [values, listed, Source(kind, ne, special=False)], within=2, nmse=0.0
    )


def add_id(d: Draw) -> Form:
    n, used, tokens, experts = (d.int(1, 5) for _ in range(4))
    src = [
        Source("F32", (n, used, tokens)),
        Source("F32", (n, experts)),
        ids(d, experts, used, tokens),
    ]
    return Form("ADD_ID", "F32", (n, used, tokens), src, inplace=True)


PRODUCT_FORMS: dict[str, Callable[[Draw], Form]] = {
    **{name: rope(name) for name in ("ROPE", "ROPE_BACK")},
    "SOFT_MAX": soft_max, "FLASH_ATTN_EXT": flash_attn, "MUL_MAT": mul_mat, "MUL_MAT_ID": mul_mat_id,
    "OUT_PROD": out_prod, "GET_ROWS": get_rows, "SET_ROWS": set_rows, "ADD_ID": add_id,
}  # fmt: skip
