"""Cells of op and type that the cases of ggmlrpc_core.testing leave out: what stock backends run beside those."""

from __future__ import annotations

from collections.abc import Iterator

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.testing.cases_model import (
    DOT_TYPES,
    KV_TYPES,
    MOE_TYPES,
    PRODUCT,
    QUANT_PRODUCT,
)
from ggmlrpc_core.testing.inputs import EXACT, Case

BF16 = 1e-4
"""Bound of a function of BF16 values that is stored as BF16."""
WEIGHTS = tuple(t for t in DOT_TYPES if TYPES[t].quantized)


def cell_cases() -> Iterator[Case]:
    """One case for each."""
    yield from products()
    yield from functions()
    yield from attention()
    yield from arrangements()


def products() -> Iterator[Case]:
    """Experts and outer products of every type of weights; the second operand in half precision."""
    for t in DOT_TYPES:
        if t not in MOE_TYPES:
            yield Case(
                f"MUL_MAT_ID/{t} used=2 rows=1 tok=3",
                lambda b, t=t: b.mul_mat_id(
                    b.rand(t, 256, 9, 8), b.rand("F32", 256, 1, 3), b.ids(8, 2, 3, distinct=True)
                ),
                PRODUCT.get(t, QUANT_PRODUCT),
            )
    for t in WEIGHTS:
        yield Case(
            f"OUT_PROD/{t} k=5",
            lambda b, t=t: b.out_prod(b.rand(t, 256, 5), b.rand("F32", 6, 5)),
            QUANT_PRODUCT,
        )
    yield Case(
        "MUL_MAT/F16 F16 k=64 m=7 n=3",
        lambda b: b.mul_mat(b.rand("F16", 64, 7), b.rand("F16", 64, 3)),
        1e-4,
    )


def functions() -> Iterator[Case]:
    """Functions of BF16 values."""
    for function in NEWEST.unary:
        if function != "XIELU":
            yield Case(
                f"UNARY/{function} BF16",
                lambda b, f=function: b.unary(b.rand("BF16", 65, 3, low=-4.0, high=4.0), f),
                BF16,
            )
    for op in ("sqr", "sqrt", "log", "sin", "cos"):
        yield Case(
            f"{op.upper()}/BF16",
            lambda b, op=op: getattr(b, op)(b.rand("BF16", 33, 5, low=0.5, high=2.0)),
            BF16,
        )
    for op in ("ADD", "SUB", "MUL", "DIV"):
        yield Case(
            f"{op}/BF16 F32",
            lambda b, op=op: getattr(b, op.lower())(
                b.rand("BF16", 32, 3), b.rand("F32", 32, 3, low=0.5, high=2.0)
            ),
            BF16,
        )


def attention() -> Iterator[Case]:
    """Keys and values of every type that a cache may have."""
    for t in dict.fromkeys(("Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", *KV_TYPES)):
        for v in dict.fromkeys((t, "F16", "Q8_0")):
            yield Case(
                f"FLASH_ATTN_EXT/{t} {v} cells",
                lambda b, t=t, v=v: b.flash_attn_ext(
                    b.rand("F32", 64, 3, 4),
                    b.rand(t, 64, 32, 2),
                    b.rand(v, 64, 32, 2),
                    mask=b.causal_mask(32, 3),
                    scale=0.125,
                ),
                5e-4,
            )


def arrangements() -> Iterator[Case]:
    """Copies of whole numbers and of quantized blocks."""
    for t in ("I8", "I16", "I32", "I64", "BF16"):
        yield Case(
            f"CONT/{t} permuted batch",
            lambda b, t=t: b.cont(b.permute(b.rand(t, 8, 3, 5, low=-90, high=90), 0, 2, 1, 3)),
            EXACT,
        )
    for t in ("Q4_0", "Q8_0", "Q6_K"):
        yield Case(
            f"CPY/{t} to {t} blocks",
            lambda b, t=t: b.cpy(b.rand(t, 256, 3), b.rand(t, 256, 3)),
            EXACT,
        )
