"""Op cases of language models: element-wise ops, matrix products, norms, attention, rows, copies.

Bounds are what a device that computes in f32, or quantizes activations as the stock CPU does, comes under.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import Order, RopeMode
from ggmlrpc_core.testing.inputs import EXACT, Case, Inputs

RESULT = {"F32": 1e-7, "F16": 1e-6, "BF16": 1e-5}
"""Bound of a result that is rounded to a type once."""

PRODUCT = {"F32": 1e-7, "F16": 1e-6, "BF16": 1e-4}
"""Bound of a matrix product by the type of its weights; the quantized ones are below."""
QUANT_PRODUCT = 5e-4
ENCODED = 1e-4
"""Bound of a result that is quantized: a value on the edge of two codes may fall to either side."""

DOT_TYPES = tuple(t.name for t in TYPES.values() if t.dot)
TARGETS = tuple(t.name for t in TYPES.values() if t.from_f32 and t.name != "I32" and t.dot)
MOE_TYPES = ("F32", "F16", "Q4_0", "Q8_0", "Q4_K", "Q6_K", "MXFP4")
KV_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0")


def result_bound(ggml_type: str) -> float:
    """The bound of a value stored in a type."""
    return RESULT.get(ggml_type, ENCODED)


def elementwise() -> Iterator[Case]:
    """ADD, SUB, MUL, DIV and their like."""
    for op in ("ADD", "SUB", "MUL", "DIV"):
        for ta, tb in (("F32", "F32"), ("F16", "F16"), ("BF16", "BF16"), ("F16", "F32")):
            for ne_b in ((32, 3, 2, 2), (32, 1, 1, 1), (1, 3, 1, 2), (16, 3, 1, 1)):

                def build(b: Inputs, op=op, ta=ta, tb=tb, ne_b=ne_b):
                    method = getattr(b, op.lower())
                    return method(b.rand(ta, 32, 3, 2, 2), b.rand(tb, *ne_b, low=0.5, high=2.0))

                yield Case(f"{op}/{ta} {tb} b={list(ne_b)}", build, RESULT[ta])

        def permuted(b: Inputs, op=op):
            a = b.permute(b.rand("F32", 16, 3, 5), 0, 2, 1, 3)
            return getattr(b, op.lower())(a, b.rand("F32", 16, low=0.5))

        def inplace(b: Inputs, op=op):
            a = b.rand("F32", 33, 4)
            return getattr(b, op.lower())(a, b.rand("F32", 33, low=0.5), inplace=True)

        yield Case(f"{op}/F32 permuted", permuted, RESULT["F32"])
        yield Case(f"{op}/F32 inplace", inplace, RESULT["F32"])
    for t in ("Q4_0", "Q8_0"):
        yield Case(
            f"ADD/{t} F32", lambda b, t=t: b.add(b.rand(t, 64, 3), b.rand("F32", 64, 3)), ENCODED
        )
    yield Case(
        "ADD_ID/F32",
        lambda b: b.add_id(b.rand("F32", 32, 2, 5), b.rand("F32", 32, 8), b.ids(8, 2, 5)),
        RESULT["F32"],
    )
    for s, bias, same in ((2.5, 0.0, False), (-0.5, 1.5, False), (0.25, 0.0, True)):
        yield Case(
            f"SCALE/F32 s={s} bias={bias} inplace={same}",
            lambda b, s=s, bias=bias, i=same: b.scale(
                b.rand("F32", 33, 5), s, bias=bias, inplace=i
            ),
            RESULT["F32"],
        )
    for t in ("F32", "F16"):
        yield Case(f"CLAMP/{t}", lambda b, t=t: b.clamp(b.rand(t, 33, 5), -0.5, 0.25), RESULT[t])
        yield Case(f"SQR/{t}", lambda b, t=t: b.sqr(b.rand(t, 33, 5)), RESULT[t])
        yield Case(f"SQRT/{t}", lambda b, t=t: b.sqrt(b.rand(t, 33, 5, low=0.0)), RESULT[t])


def functions() -> Iterator[Case]:
    """UNARY and GLU."""
    for function in NEWEST.unary:
        if function == "XIELU":
            continue
        for t in ("F32", "F16"):

            def build(b: Inputs, t=t, f=function):
                return b.unary(b.rand(t, 65, 3, low=-4.0, high=4.0), f)

            # the stock CPU looks GELU and GELU_QUICK up in a half-precision table
            bound = 1e-6 if "GELU" in function else RESULT[t]
            yield Case(f"UNARY/{function} {t}", build, bound)
    for function in NEWEST.glu:
        if function in ("SWIGLU_OAI", "SWIGLU_CLAMP"):
            continue
        for t in ("F32", "F16"):
            bound = 1e-6
            for swapped in (False, True):
                yield Case(
                    f"GLU/{function} {t} halves swapped={swapped}",
                    lambda b, f=function, t=t, s=swapped: b.glu(
                        b.rand(t, 66, 3, low=-3.0, high=3.0), f, swapped=s
                    ),
                    bound,
                )
            yield Case(
                f"GLU/{function} {t} two",
                lambda b, f=function, t=t: b.glu(
                    b.rand(t, 33, 3, low=-3.0, high=3.0), f, b=b.rand(t, 33, 3)
                ),
                bound,
            )
    yield Case(
        "GLU/SWIGLU_OAI F32",
        lambda b: b.swiglu_oai(
            b.rand("F32", 32, 3, low=-9, high=9),
            b.rand("F32", 32, 3, low=-9, high=9),
            alpha=1.702,
            limit=7.0,
        ),
        RESULT["F32"],
    )
    yield Case(
        "GLU/SWIGLU_CLAMP F32",
        lambda b: b.swiglu_clamp(
            b.rand("F32", 32, 3, low=-9, high=9), b.rand("F32", 32, 3, low=-9, high=9), limit=5.0
        ),
        RESULT["F32"],
    )


def products() -> Iterator[Case]:
    """MUL_MAT, MUL_MAT_ID, OUT_PROD."""
    for t in DOT_TYPES:
        bound = PRODUCT.get(t, QUANT_PRODUCT)
        for m, n in ((16, 1), (17, 4), (5, 33)):
            yield Case(
                f"MUL_MAT/{t} k=256 m={m} n={n}",
                lambda b, t=t, m=m, n=n: b.mul_mat(b.rand(t, 256, m), b.rand("F32", 256, n)),
                bound,
            )
    for t in ("F32", "F16", "Q8_0"):
        bound = PRODUCT.get(t, QUANT_PRODUCT)
        yield Case(
            f"MUL_MAT/{t} broadcast",
            lambda b, t=t: b.mul_mat(b.rand(t, 64, 7, 2), b.rand("F32", 64, 3, 4, 2)),
            bound,
        )
        yield Case(
            f"MUL_MAT/{t} heads",  # as keys and queries of attention meet
            lambda b, t=t: b.mul_mat(
                b.permute(b.rand(t, 64, 2, 9), 0, 2, 1, 3),
                b.permute(b.rand("F32", 64, 4, 5), 0, 2, 1, 3),
            ),
            bound,
        )
    yield Case(
        "MUL_MAT/F16 F16",
        lambda b: b.mul_mat(b.rand("F16", 64, 7), b.rand("F16", 64, 3)),
        PRODUCT["F16"],
    )
    yield Case(
        "MUL_MAT/F32 k=1",
        lambda b: b.mul_mat(b.rand("F32", 1, 7), b.rand("F32", 1, 3)),
        PRODUCT["F32"],
    )
    for t in MOE_TYPES:
        bound = PRODUCT.get(t, QUANT_PRODUCT)
        for used, rows, tok in ((2, 1, 1), (2, 2, 7), (4, 1, 20)):
            yield Case(
                f"MUL_MAT_ID/{t} used={used} rows={rows} tok={tok}",
                lambda b, t=t, u=used, r=rows, n=tok: b.mul_mat_id(
                    b.rand(t, 256, 9, 8), b.rand("F32", 256, r, n), b.ids(8, u, n, distinct=True)
                ),
                bound,
            )
    yield Case(
        "OUT_PROD/F32",
        lambda b: b.out_prod(b.rand("F32", 8, 5, 2), b.rand("F32", 6, 5, 4)),
        PRODUCT["F32"],
    )


def norms() -> Iterator[Case]:
    """Norms, reductions and sorting."""
    for op in ("norm", "rms_norm", "l2_norm"):
        name = op.upper()
        yield Case(
            f"{name}/F32",
            lambda b, op=op: getattr(b, op)(b.rand("F32", 65, 3, 2), eps=1e-6),
            RESULT["F32"],
        )
        yield Case(
            f"{name}/F32 rows of a view",
            lambda b, op=op: getattr(b, op)(
                b.view(b.rand("F32", 64, 5), 32, 5, nb=[256], offset=64), eps=1e-5
            ),
            RESULT["F32"],
        )
        yield Case(
            f"{name}/F32 inplace",
            lambda b, op=op: getattr(b, op)(b.rand("F32", 64, 5), eps=1e-5, inplace=True),
            RESULT["F32"],
        )
    yield Case(
        "GROUP_NORM/F32",
        lambda b: b.group_norm(b.rand("F32", 5, 4, 6, 2), 3, eps=1e-6),
        RESULT["F32"],
    )
    for op in ("sum", "sum_rows", "mean", "cumsum"):
        yield Case(
            f"{op.upper()}/F32",
            lambda b, op=op: getattr(b, op)(b.rand("F32", 33, 4, 3, 2)),
            RESULT["F32"],
        )
    yield Case("ARGMAX/F32", lambda b: b.argmax(b.rand("F32", 33, 6)), EXACT)
    for order in (Order.ASC, Order.DESC):
        yield Case(
            f"ARGSORT/{order.name}",
            lambda b, o=order: b.argsort(b.rand("F32", 33, 4, 2), order=o),
            EXACT,
        )
    yield Case(
        "ARGSORT/top k view", lambda b: b.cont(b.argsort_top_k(b.rand("F32", 33, 4), 5)), EXACT
    )
    yield Case("TOP_K/F32", lambda b: b.top_k(b.rand("F32", 33, 4), 5), EXACT, "sorted")


def attention() -> Iterator[Case]:
    """ROPE, SOFT_MAX, FLASH_ATTN_EXT, masks."""
    for mode in RopeMode:
        for t in ("F32", "F16"):
            for yarn in (False, True):

                def rope(b: Inputs, mode=mode, t=t, yarn=yarn):
                    a = b.rand(t, 64, 4, 6)
                    pos = b.ids(500, 24 if mode & RopeMode.MROPE else 6)
                    return b.rope_ext(
                        a, pos, b.rand("F32", 32, low=0.9, high=1.5) if yarn else None,
                        n_dims=32 if mode in (RopeMode.VISION, RopeMode.NEOX) else 64,
                        mode=mode, n_ctx_orig=512, ext_factor=0.7 if yarn else 0.0,
                        freq_scale=0.5 if yarn else 1.0, attn_factor=1.2 if yarn else 1.0,
                        sections=(10, 11, 11, 0) if mode & RopeMode.MROPE else (0, 0, 0, 0),
                    )  # fmt: skip

                yield Case(f"ROPE/{mode.name} {t} yarn={yarn}", rope, RESULT[t])
    yield Case(
        "ROPE/inplace",
        lambda b: b.rope_ext(b.rand("F32", 32, 2, 3), b.ids(9, 3), n_dims=32, inplace=True),
        RESULT["F32"],
    )
    yield Case(
        "ROPE_BACK/F32",
        lambda b: b.rope_ext(b.rand("F32", 32, 2, 3), b.ids(9, 3), n_dims=16, back=True),
        RESULT["F32"],
    )
    for mask in ("", "F32", "F16"):
        for max_bias in (0.0, 8.0) if mask else (0.0,):

            def soft_max(b: Inputs, mask=mask, max_bias=max_bias):
                a = b.rand("F32", 17, 5, 6, 2, low=-4, high=4)
                m = b.causal_mask(17, 5, ggml_type=mask) if mask else None
                return b.soft_max_ext(a, m, scale=0.5, max_bias=max_bias)

            yield Case(f"SOFT_MAX/mask={mask} max_bias={max_bias}", soft_max, RESULT["F32"])
    yield Case(
        "SOFT_MAX/sinks",
        lambda b: b.soft_max_ext(b.rand("F32", 17, 5, 6), sinks=b.rand("F32", 6, low=-2, high=2)),
        RESULT["F32"],
    )
    yield Case(
        "SOFT_MAX/inplace",
        lambda b: b.soft_max_ext(b.rand("F32", 9, 5), inplace=True),
        RESULT["F32"],
    )
    yield Case(
        "DIAG_MASK_INF/F32", lambda b: b.diag_mask_inf(b.rand("F32", 7, 5, 2), 2), RESULT["F32"]
    )
    for t in KV_TYPES:
        for dk, dv, tok, kv, heads, heads_kv in (
            (64, 64, 1, 33, 4, 4), (128, 128, 7, 64, 8, 2), (64, 32, 40, 96, 2, 1),
        ):  # fmt: skip

            def flash(b: Inputs, t=t, dk=dk, dv=dv, tok=tok, kv=kv, heads=heads, hkv=heads_kv):
                q = b.rand("F32", dk, tok, heads)
                k, v = b.rand(t, dk, kv, hkv), b.rand(t, dv, kv, hkv)
                return b.flash_attn_ext(q, k, v, b.causal_mask(kv, tok), scale=dk**-0.5)

            yield Case(
                f"FLASH_ATTN_EXT/{t} dk={dk} dv={dv} tok={tok} kv={kv} heads={heads}/{heads_kv}",
                flash,
                5e-4,
            )

    def extras(b: Inputs, max_bias: float, softcap: float, sinks: bool):
        q, k, v = (
            b.rand("F32", 64, 3, 4, 2),
            b.rand("F16", 64, 20, 2, 2),
            b.rand("F16", 64, 20, 2, 2),
        )
        return b.flash_attn_ext(
            q, k, v, b.causal_mask(20, 3), scale=0.125, max_bias=max_bias, logit_softcap=softcap,
            sinks=b.rand("F32", 4) if sinks else None,
        )  # fmt: skip

    for max_bias, softcap, sinks in ((8.0, 0.0, False), (0.0, 20.0, False), (0.0, 0.0, True)):
        yield Case(
            f"FLASH_ATTN_EXT/max_bias={max_bias} softcap={softcap} sinks={sinks}",
            lambda b, m=max_bias, s=softcap, k=sinks: extras(b, m, s, k),
            5e-4,
        )
    yield Case(
        "FLASH_ATTN_EXT/no mask, permuted cache",
        lambda b: b.flash_attn_ext(
            b.permute(b.rand("F32", 64, 4, 3), 0, 2, 1, 3),
            b.permute(b.rand("F16", 64, 2, 20), 0, 2, 1, 3),
            b.permute(b.rand("F16", 64, 2, 20), 0, 2, 1, 3),
            scale=0.125,
        ),
        5e-4,
    )


def rows() -> Iterator[Case]:
    """GET_ROWS and SET_ROWS."""
    for t in (*DOT_TYPES, "I32"):
        yield Case(
            f"GET_ROWS/{t}",
            lambda b, t=t: b.get_rows(b.rand(t, 256, 9, low=-50, high=50), b.ids(9, 5)),
            EXACT if t in ("F32", "F16", "BF16", "I32") else RESULT["F32"],
        )
    yield Case(
        "GET_ROWS/F32 slices",
        lambda b: b.get_rows(b.rand("F32", 32, 9, 3, 2), b.ids(9, 4, 3, 2)),
        EXACT,
    )
    for t in TARGETS:
        for ids in ("I64", "I32"):
            yield Case(
                f"SET_ROWS/{t} {ids}",
                lambda b, t=t, ids=ids: b.set_rows(
                    b.rand(t, 256, 9), b.rand("F32", 256, 4),
                    b.ids(9, 4, ggml_type=ids, distinct=True),
                ),
                result_bound(t),
            )  # fmt: skip
    yield Case(
        "SET_ROWS/F16 slices with one list of ids",
        lambda b: b.set_rows(
            b.rand("F16", 32, 9, 2, 3),
            b.rand("F32", 32, 4, 2, 3),
            b.ids(9, 4, 2, ggml_type="I64", distinct=True),
        ),
        RESULT["F16"],
    )


def copies() -> Iterator[Case]:
    """CPY, CONT, DUP, REPEAT, CONCAT, PAD."""
    plain = ("F32", "F16", "BF16")
    for source in plain:
        for target in dict.fromkeys((*plain, *TARGETS)):
            yield Case(
                f"CPY/{source} to {target}",
                lambda b, s=source, t=target: b.cpy(b.rand(s, 256, 3), b.rand(t, 256, 3)),
                result_bound(target),
            )
    for source in DOT_TYPES:
        if source not in plain:
            yield Case(
                f"CPY/{source} to F32",
                lambda b, s=source: b.cpy(b.rand(s, 256, 3), b.rand("F32", 256, 3)),
                RESULT["F32"],
            )
    yield Case(
        "CPY/F32 to I32", lambda b: b.cast(b.rand("F32", 33, 3, low=-9, high=9), "I32"), EXACT
    )
    yield Case("CPY/I32 to F32", lambda b: b.cast(b.ids(1000, 33, 3), "F32"), EXACT)
    yield Case("CPY/cast", lambda b: b.cast(b.rand("F32", 33, 3), "F16"), RESULT["F16"])
    yield Case("CPY/other shape", lambda b: b.cpy(b.rand("F32", 6, 4), b.rand("F32", 8, 3)), EXACT)
    yield Case(
        "CPY/into a view of a cache",
        lambda b: b.cpy(
            b.transpose(b.rand("F32", 16, 3)),
            b.view(b.rand("F16", 8, 16), 3, 16, nb=[16], offset=4),
        ),
        RESULT["F16"],
    )
    for t in ("F32", "F16", "BF16", "I32"):
        yield Case(
            f"CONT/{t} permuted",
            lambda b, t=t: b.cont(b.permute(b.rand(t, 5, 4, 3, 2, low=-9, high=9), 2, 0, 3, 1)),
            EXACT,
        )
        yield Case(
            f"CONT/{t} transposed",
            lambda b, t=t: b.cont(b.transpose(b.rand(t, 33, 17, low=-9, high=9)), 17 * 33),
            EXACT,
        )
    yield Case("DUP/F32", lambda b: b.dup(b.permute(b.rand("F32", 5, 4, 3), 1, 0, 2, 3)), EXACT)
    for t in ("F32", "F16", "I32"):
        yield Case(
            f"REPEAT/{t}",
            lambda b, t=t: b.repeat(b.rand(t, 4, 1, 3, low=-9, high=9), (8, 5, 3, 2)),
            EXACT,
        )
        for dim in range(4):

            def concat(b: Inputs, t=t, dim=dim):
                ne = [8, 3, 2, 2]
                ne[dim] = 5
                return b.concat(b.rand(t, 8, 3, 2, 2, high=9), b.rand(t, *ne, high=9), dim)

            yield Case(f"CONCAT/{t} dim={dim}", concat, EXACT)
    yield Case("PAD/F32 right", lambda b: b.pad(b.rand("F32", 5, 4, 3), 2, 1), EXACT)
    yield Case("PAD/F32 left", lambda b: b.pad(b.rand("F32", 5, 4, 3), 2, 1, left=[1, 0, 2]), EXACT)
    yield Case(
        "PAD/F32 circular",
        lambda b: b.pad(b.rand("F32", 5, 4), 2, left=[1, 2], circular=True),
        EXACT,
    )


def graphs() -> Iterator[Case]:
    """Several nodes: what devices fuse, chains in place, a cache that is written and read."""

    def norm_and_weight(b: Inputs):
        return b.mul(b.rms_norm(b.rand("F32", 64, 3), eps=1e-6), b.rand("F32", 64))

    def norm_with_two_readers(b: Inputs):
        norm = b.rms_norm(b.rand("F32", 64, 3), eps=1e-6)
        return b.mul(norm, b.rand("F32", 64)), b.add(norm, norm)

    def in_place(b: Inputs):
        t = b.rand("F32", 33, 3)
        t = b.scale(t, 2.0, inplace=True)
        t = b.add(t, b.rand("F32", 33), inplace=True)
        return b.silu(t, inplace=True)

    def overlapping_views(b: Inputs):
        x = b.rand("F32", 40)
        return b.add(b.view(x, 32), b.view(x, 32, offset=32))

    def cache_written_and_read(b: Inputs):
        cache = b.rand("F16", 64, 16)
        written = b.set_rows(cache, b.rand("F32", 64, 3), b.given("I64", np.array([5, 6, 7])))
        past = b.view(written, 64, 8, nb=[128])
        return b.mul_mat(past, b.rand("F32", 64, 3))

    def feed_forward(b: Inputs):
        x = b.rand("F32", 64, 5)
        h = b.swiglu(b.mul_mat(b.rand("Q8_0", 64, 96), x), b=b.mul_mat(b.rand("Q8_0", 64, 96), x))
        return b.add(x, b.mul_mat(b.rand("F16", 96, 64), h))

    yield Case("GRAPH/norm and weight", norm_and_weight, RESULT["F32"])
    yield Case("GRAPH/norm with two readers", norm_with_two_readers, RESULT["F32"])
    yield Case("GRAPH/in place", in_place, RESULT["F32"])
    yield Case("GRAPH/overlapping views", overlapping_views, RESULT["F32"])
    yield Case("GRAPH/cache written and read", cache_written_and_read, PRODUCT["F16"])
    yield Case("GRAPH/feed forward", feed_forward, QUANT_PRODUCT)


MODEL_GROUPS = (elementwise, functions, products, norms, attention, rows, copies, graphs)
