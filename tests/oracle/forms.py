"""A random node of each op, legal by the constructors of ggml: types, extents, parameters, data.

Memory is not decided here (trial.py). Here are the ops on elements and rows; the others are in product_forms.py,
image_forms.py and more_forms.py.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from oracle.image_forms import IMAGE_FORMS
from oracle.more_forms import MORE_FORMS
from oracle.product_forms import PRODUCT_FORMS
from oracle.shapes import Draw, Form, Source, block_of, extents
from oracle.table import GLU_NAMES, UNARY_NAMES

from ggmlrpc_core.ops.declare import ENCODABLE, FLOATS, QUANTS

PAIRS = [
    "F32 F32 F32",
    "F16 F16 F16",
    "BF16 BF16 BF16",
    "BF16 F32 BF16",
    "BF16 F32 F32",
    "F16 F32 F16",
    "F16 F32 F32",
]
PLAIN = ["F32", "F16", "BF16", "I32", "I16", "I8", "I64", "F64"]


def binary(name: str) -> Callable[[Draw], Form]:
    """ADD SUB MUL DIV: b tiled over a."""

    def form(d: Draw) -> Form:
        if name == "ADD" and d.int(0, 4) == 4:
            kind = d.pick(*ENCODABLE)
            ne = extents(d, 2, block=block_of(kind))
            return Form(
                name, kind, ne, [Source(kind, ne), Source("F32", ne, special=False)], nmse=2e-3
            )
        a, b, y = d.pick(*PAIRS).split()
        small = extents(d, 3)
        ne = tuple(n * d.int(1, 3) for n in small)
        return Form(name, y, ne, [Source(a, ne), Source(b, small)], inplace=a == y)

    return form


def function(
    name: str, *, high: int = 5, dims: int = 4, inplace: bool = True, **params: int
) -> Callable[[Draw], Form]:
    """One source of the node's shape; parameters drawn: name 'f0' and 'f1' are floats of op_params."""

    def form(d: Draw) -> Form:
        a, y = d.pick(
            ("F32", "F32"), ("F16", "F16"), ("BF16", "BF16"), ("F16", "F32"), ("BF16", "F32")
        )
        if name not in ("SQR", "SQRT", "LOG", "SIN", "COS"):
            y = a
        ne = extents(d, high, dims=dims)
        values = {int(k[1:]): d.pick(0.5, -1.25, 0.0, 2.0) for k in params}
        return Form(name, y, ne, [Source(a, ne)], values, inplace=inplace and a == y)

    return form


def unary(d: Draw) -> Form:
    number = d.pick(*[n for n, name in UNARY_NAMES.items() if name in KNOWN_UNARY])
    params: dict[int, int | float] = {0: number}
    if UNARY_NAMES[number] == "XIELU":
        params |= {1: 0.8, 2: 0.3, 3: 0.5, 4: -1e-6}
    kind = d.pick(*FLOATS)
    ne = extents(d, 5)
    return Form("UNARY", kind, ne, [Source(kind, ne)], params, inplace=True)


KNOWN_UNARY = (
    "ABS", "SGN", "NEG", "STEP", "TANH", "ELU", "RELU", "SIGMOID", "GELU", "GELU_QUICK", "SILU", "HARDSWISH",
    "HARDSIGMOID", "EXP", "EXPM1", "SOFTPLUS", "GELU_ERF", "XIELU", "FLOOR", "CEIL", "ROUND", "TRUNC",
)  # fmt: skip


def glu(d: Draw) -> Form:
    number = d.pick(*GLU_NAMES)
    kind = "F32" if GLU_NAMES[number].startswith("SWIGLU_") else d.pick(*FLOATS)
    ne, two = extents(d), d.int(0, 1)
    whole = ne if two else (2 * ne[0], *ne[1:])
    params = {0: number, 1: 0 if two else d.int(0, 1), 2: 1.5, 3: 1.0}
    return Form("GLU", kind, ne, [Source(kind, whole)] * (1 + two), params)


def copy_pairs() -> list[tuple[str, str]]:
    """Every pair of types that CPY, DUP and CONT take."""
    pairs = [(a, a) for a in (*PLAIN, *QUANTS)]
    pairs += [(a, b) for a in FLOATS for b in (*FLOATS, "I32", *ENCODABLE) if a != b]
    return pairs + [(a, b) for a in ("I32", *QUANTS) for b in FLOATS]


def copy(name: str) -> Callable[[Draw], Form]:
    """CPY into a destination of another shape; CONT and DUP in the same."""

    def form(d: Draw) -> Form:
        a, y = d.pick(*copy_pairs())
        ne = extents(d, 3, block=max(block_of(a), block_of(y)))
        other = ne
        if name == "CPY" and d.int(0, 1):
            other = (ne[0], ne[2] * ne[3], ne[1], 1)
        source = Source(a, ne, special=y != "I32" and y not in ENCODABLE)
        if name == "CPY":
            return Form(
                name, y, other, [source, Source(y, other, special=False)], within=1, nmse=0.0
            )
        return Form(name, y, ne, [source], nmse=0.0)

    return form


def windowed(name: str) -> Callable[[Draw], Form]:
    """SET and ACC: a window of a."""

    def form(d: Draw) -> Form:
        kind = "F32" if name == "ACC" else d.pick("F32", "I32")
        ne = tuple(n + 1 for n in extents(d, 4))
        small = tuple(d.int(1, n - 1) for n in ne)
        nb = [4 * ne[0], 4 * ne[0] * ne[1], 4 * ne[0] * ne[1] * ne[2]]
        at = [d.int(0, n - m) for n, m in zip(ne, small)]
        offset = 4 * at[0] + sum(a * b for a, b in zip(at[1:], nb))
        params = {0: nb[0], 1: nb[1], 2: nb[2], 3: offset, 4: 0}
        return Form(name, kind, ne, [Source(kind, ne), Source(kind, small)], params, inplace=True)

    return form


def rows(name: str, *, flat: bool = False, high: int = 40) -> Callable[[Draw], Form]:
    """Norms and reductions: long rows."""

    def form(d: Draw) -> Form:
        ne = (d.int(1, high), *extents(d, 3)[1:])
        params: dict[int, int | float] = {0: d.pick(1e-5, 1e-6, 0.5)} if "NORM" in name else {}
        if name == "GROUP_NORM":
            params = {0: d.int(1, ne[2]), 1: 1e-5}
        kind = "F32" if name not in ("SUM",) else d.pick(*FLOATS)
        y = {"SUM": (1, 1, 1, 1), "SUM_ROWS": (1, *ne[1:]), "MEAN": (1, *ne[1:])}.get(name, ne)
        return Form(name, kind, y, [Source(kind, ne)], params, inplace="NORM" in name)

    return form


def repeat(d: Draw) -> Form:
    kind = d.pick("F32", "F16", "BF16", "I32", "I16")
    small = extents(d, 3)
    ne = tuple(n * d.int(1, 3) for n in small)
    return Form("REPEAT", kind, ne, [Source(kind, small)], nmse=0.0)


def concat(d: Draw) -> Form:
    kind, dim = d.pick("F32", "F16", "BF16", "I32", "I64", "I8", "Q8_0", "Q4_K"), d.int(0, 3)
    a = list(extents(d, 3, block=block_of(kind)))
    b, y = list(a), list(a)
    b[dim] = d.int(1, 3) * (block_of(kind) if dim == 0 else 1)
    y[dim] += b[dim]
    return Form(
        "CONCAT",
        kind,
        tuple(y),
        [Source(kind, tuple(a)), Source(kind, tuple(b))],
        {0: dim},
        nmse=0.0,
    )


def pad(d: Draw) -> Form:
    a, circular = extents(d, 3), d.int(0, 1)
    pads = [d.int(0, a[k // 2] if circular else 2) for k in range(8)]
    ne = tuple(n + pads[2 * k] + pads[2 * k + 1] for k, n in enumerate(a))
    return Form("PAD", "F32", ne, [Source("F32", a)], dict(enumerate([*pads, circular])), nmse=0.0)


def diag_mask(name: str) -> Callable[[Draw], Form]:
    def form(d: Draw) -> Form:
        ne = extents(d, 5)
        return Form(name, "F32", ne, [Source("F32", ne)], {0: d.int(0, 4)}, inplace=True)

    return form


def sort(name: str) -> Callable[[Draw], Form]:
    """Distinct finite keys for an order, which stock leaves open for others; any for ARGMAX, equal ones too."""

    def form(d: Draw) -> Form:
        ne = (d.int(1, 20), *extents(d, 3)[1:])
        if name == "ARGMAX":
            ne = (*ne[:2], 1, 1)
            rng = np.random.default_rng(d.int(0, 1 << 30))
            some = rng.choice(
                [1.0, 2.0, 3.0, -np.inf, np.inf, np.nan],
                ne[::-1],
                p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.05],
            )
            return Form(name, "I32", (ne[1],), [Source("F32", ne, some)])
        y = {"TOP_K": (d.int(1, ne[0]), *ne[1:])}.get(name, ne)
        params = {0: d.int(0, 1)} if name == "ARGSORT" else {}
        return Form(name, "I32", y, [Source("F32", ne, special=False)], params)

    return form


ROW_FORMS: dict[str, Callable[[Draw], Form]] = {
    **{name: binary(name) for name in ("ADD", "SUB", "MUL", "DIV")},
    **{name: function(name) for name in ("SQR", "SQRT", "LOG", "SIN", "COS", "FILL")},
    **{name: function(name, f0=1) for name in ("LEAKY_RELU",)},
    "SCALE": function("SCALE", f0=1, f1=1),
    **{name: copy(name) for name in ("CPY", "CONT", "DUP")},
    **{name: windowed(name) for name in ("ACC", "SET")},
    **{name: rows(name) for name in ("SUM", "SUM_ROWS", "MEAN", "CUMSUM", "NORM", "RMS_NORM", "L2_NORM", "GROUP_NORM")},
    **{name: diag_mask(name) for name in ("DIAG_MASK_INF", "DIAG_MASK_ZERO")},
    **{name: sort(name) for name in ("ARGSORT", "TOP_K", "ARGMAX")},
    "UNARY": unary, "GLU": glu, "REPEAT": repeat, "CONCAT": concat, "PAD": pad,
}  # fmt: skip
FORMS = MappingProxyType({**ROW_FORMS, **PRODUCT_FORMS, **IMAGE_FORMS, **MORE_FORMS})
"""For every computed op, a function that draws a node."""
