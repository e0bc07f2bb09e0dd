"""F32 arithmetic with tiling and functions of one value: ADD SUB MUL DIV SCALE CLAMP SQR SQRT UNARY GLU ADD_ID.

Every kernel walks pieces of rows: item (row, block of COLUMNS). Rows have no gaps inside (families/elementwise.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import (
    address,
    chunk_size,
    n_rows,
    nb,
    ne,
    param_f32,
    report_id,
    row,
    take,
    tiled_row,
)
from ggmlrpc_cpu.kernels.functions import UNARY_FUNCTIONS, relu, silu
from ggmlrpc_cpu.simd import (
    load_f32,
    load_f32x16,
    load_first_f32x16,
    load_i32,
    maximum,
    minimum,
    select_nan,
    sigmoid_f32x16,
    splat_f32x16,
    sqrt,
    store_f32,
    store_f32x16,
    store_first_f32x16,
)

COLUMNS = 4096
"""Elements of a row that are one work item."""


def _make_binary(name: str, vectors: Callable[..., Any]) -> None:
    apply = inline(vectors)

    @inline
    def span(d: Any, a: Any, b: Any, n: Any) -> None:
        for i in range(0, n - 15, 16):
            store_f32x16(d + 4 * i, apply(load_f32x16(a + 4 * i), load_f32x16(b + 4 * i)))
        i = n // 16 * 16
        if i < n:
            y = apply(load_first_f32x16(a + 4 * i, n - i), load_first_f32x16(b + 4 * i, n - i))
            store_first_f32x16(d + 4 * i, y, n - i)

    @inline
    def span_one(d: Any, a: Any, value: Any, n: Any) -> None:
        b = splat_f32x16(value)
        for i in range(0, n - 15, 16):
            store_f32x16(d + 4 * i, apply(load_f32x16(a + 4 * i), b))
        i = n // 16 * 16
        if i < n:
            store_first_f32x16(d + 4 * i, apply(load_first_f32x16(a + 4 * i, n - i), b), n - i)

    @kernel(f"{name}:F32")
    def binary(rec: Any, ith: Any, nth: Any) -> None:
        n, m = ne(rec, 0, 0), ne(rec, 2, 0)
        width = COLUMNS if m in (n, 1) else n
        blocks = (n + width - 1) // width
        items = n_rows(rec, 0) * blocks
        chunk = chunk_size(rec, items, nth)
        first = take(rec, chunk)
        while first < items:
            for item in range(first, min(first + chunk, items)):
                r = item // blocks
                start = (item - r * blocks) * width
                size = min(width, n - start)
                d, a = row(rec, 0, r, 0) + 4 * start, row(rec, 1, r, 0) + 4 * start
                b = tiled_row(rec, 2, r)
                if m == n:
                    span(d, a, b + 4 * start, size)
                elif m == 1:
                    span_one(d, a, load_f32(b), size)
                else:
                    for i in range(0, n, m):
                        span(d + 4 * i, a + 4 * i, b, m)
            first = take(rec, chunk)


_make_binary("ADD", lambda a, b: a + b)
_make_binary("SUB", lambda a, b: a - b)
_make_binary("MUL", lambda a, b: a * b)
_make_binary("DIV", lambda a, b: a / b)


def _make_unary(name: str, apply: Any) -> None:
    """A kernel of a function of 16 lanes and the record (for parameters)."""

    @kernel(f"{name}:F32")
    def unary(rec: Any, ith: Any, nth: Any) -> None:
        n = ne(rec, 0, 0)
        blocks = (n + COLUMNS - 1) // COLUMNS
        items = n_rows(rec, 0) * blocks
        chunk = chunk_size(rec, items, nth)
        first = take(rec, chunk)
        while first < items:
            for item in range(first, min(first + chunk, items)):
                r = item // blocks
                start = (item - r * blocks) * COLUMNS
                d, a = row(rec, 0, r, 0) + 4 * start, row(rec, 1, r, 0) + 4 * start
                size = min(COLUMNS, n - start)
                for i in range(0, size - 15, 16):
                    store_f32x16(d + 4 * i, apply(load_f32x16(a + 4 * i), rec))
                i = size // 16 * 16
                if i < size:
                    y = apply(load_first_f32x16(a + 4 * i, size - i), rec)
                    store_first_f32x16(d + 4 * i, y, size - i)
            first = take(rec, chunk)


@inline
def _scale(x: Any, rec: Any) -> Any:
    return x * param_f32(rec, 0) + param_f32(rec, 1)


@inline
def _clamp(x: Any, rec: Any) -> Any:
    low, high = splat_f32x16(param_f32(rec, 0)), splat_f32x16(param_f32(rec, 1))
    return maximum(minimum(x, high), low)


@inline
def _sqr(x: Any, rec: Any) -> Any:
    return x * x


@inline
def _sqrt(x: Any, rec: Any) -> Any:
    return sqrt(x)


_make_unary("SCALE", _scale)
_make_unary("CLAMP", _clamp)
_make_unary("SQR", _sqr)
_make_unary("SQRT", _sqrt)
for _name, _function in UNARY_FUNCTIONS.items():
    _make_unary(f"UNARY:{_name}", _function)


def _make_glu(name: str, apply: Any) -> None:
    """A kernel of a function (gate, up, record). Source 1 holds the gate and source 2 the up values."""

    @kernel(f"GLU:{name}:F32")
    def glu(rec: Any, ith: Any, nth: Any) -> None:
        n = ne(rec, 0, 0)
        blocks = (n + COLUMNS - 1) // COLUMNS
        items = n_rows(rec, 0) * blocks
        chunk = chunk_size(rec, items, nth)
        first = take(rec, chunk)
        while first < items:
            for item in range(first, min(first + chunk, items)):
                r = item // blocks
                start = (item - r * blocks) * COLUMNS
                d, g = row(rec, 0, r, 0) + 4 * start, row(rec, 1, r, 0) + 4 * start
                u = row(rec, 2, r, 0) + 4 * start
                size = min(COLUMNS, n - start)
                for i in range(0, size - 15, 16):
                    y = apply(load_f32x16(g + 4 * i), load_f32x16(u + 4 * i), rec)
                    store_f32x16(d + 4 * i, y)
                i = size // 16 * 16
                if i < size:
                    x = load_first_f32x16(g + 4 * i, size - i)
                    y = apply(x, load_first_f32x16(u + 4 * i, size - i), rec)
                    store_first_f32x16(d + 4 * i, y, size - i)
            first = take(rec, chunk)


@inline
def _reglu(g: Any, u: Any, rec: Any) -> Any:
    return relu(g, rec) * u


@inline
def _swiglu(g: Any, u: Any, rec: Any) -> Any:
    return silu(g, rec) * u


@inline
def _limited(x: Any, rec: Any) -> Any:
    """min(x, limit), NaN kept."""
    return select_nan(x, x, minimum(x, splat_f32x16(param_f32(rec, 3))))


@inline
def _between(x: Any, rec: Any) -> Any:
    """x within -limit and limit, NaN kept."""
    return select_nan(x, x, maximum(_limited(x, rec), splat_f32x16(-param_f32(rec, 3))))


@inline
def _swiglu_oai(g: Any, u: Any, rec: Any) -> Any:
    g, u = _limited(g, rec), _between(u, rec)
    return g * sigmoid_f32x16(g * param_f32(rec, 2)) * (u + np.float32(1))


@inline
def _swiglu_clamp(g: Any, u: Any, rec: Any) -> Any:
    return silu(_limited(g, rec), rec) * _between(u, rec)


def _times(function: Any) -> Any:
    @inline
    def apply(g: Any, u: Any, rec: Any) -> Any:
        return function(g, rec) * u

    return apply


_make_glu("REGLU", _reglu)
_make_glu("SWIGLU", _swiglu)
_make_glu("SWIGLU_OAI", _swiglu_oai)
_make_glu("SWIGLU_CLAMP", _swiglu_clamp)
for _name in ("GELU", "GELU_ERF", "GELU_QUICK"):
    _make_glu(
        "GE" + _name.removeprefix("GE").replace("LU", "GLU", 1), _times(UNARY_FUNCTIONS[_name])
    )


@kernel("ADD_ID:F32")
def add_id(rec: Any, ith: Any, nth: Any) -> None:
    """Row (i1, i2) of the node = row of source 0 + row ids[i1, i2] of source 1."""
    n, n1, limit = ne(rec, 0, 0), ne(rec, 0, 1), ne(rec, 2, 1)
    rows = n_rows(rec, 0)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            i2 = r // n1
            i1 = r - i2 * n1
            chosen = np.int64(load_i32(address(rec, 3) + i1 * nb(rec, 3, 0) + i2 * nb(rec, 3, 1)))
            if chosen < 0 or chosen >= limit:
                report_id(rec, chosen, limit)
                continue
            d, a = row(rec, 0, r, 0), row(rec, 1, r, 0)
            b = address(rec, 2) + chosen * nb(rec, 2, 1)
            for i in range(n):
                store_f32(d + 4 * i, load_f32(a + 4 * i) + load_f32(b + 4 * i))
        first = take(rec, chunk)
