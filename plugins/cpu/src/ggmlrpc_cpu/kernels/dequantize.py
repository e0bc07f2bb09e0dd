"""Rows of any type as f32: one function per type, shared by GET_ROWS, tiles of MUL_MAT and FLASH_ATTN_EXT.

`row_to(type, store)` makes the function for any way of storing 16 values, `row_to_f32(type)` the plain one. What the
blocks look like is in blocks/ (vector formats) and dequantize_grid.py (the others); this module only drives them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels import dequantize_grid
from ggmlrpc_cpu.kernels.blocks.format import PAIRS, SUPER, PairFormat, SuperFormat, find
from ggmlrpc_cpu.kernels.blocks.vectors import lane, quarters
from ggmlrpc_cpu.simd import (
    bf16_to_f32x16,
    load_bf16,
    load_f16,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_u16x16,
    store_f32,
    store_f32x16,
    to_f32x16,
)

PLAIN = ("F32", "F16", "BF16")
GRID = dequantize_grid.TYPES
TYPES = (*PLAIN, *PAIRS, *SUPER, *GRID)
"""Every type with a row function."""

q0, q1, q2, q3 = quarters


@inline
def store_plain(dst: Any, k: Any, values: Any) -> None:
    """Sixteen f32 from element k of a row at dst."""
    store_f32x16(dst + 4 * k, values)


@inline
def load_f16_values(p: Any) -> Any:
    """Sixteen f16 as f32."""
    return to_f32x16(load_f16x16(p))


@inline
def load_bf16_values(p: Any) -> Any:
    """Sixteen bf16 as f32."""
    return bf16_to_f32x16(load_u16x16(p))


LOADS = {
    "F32": (load_f32x16, load_f32, 4),
    "F16": (load_f16_values, load_f16, 2),
    "BF16": (load_bf16_values, load_bf16, 2),
}
"""Type to (load of 16 values, load of one, bytes per element)."""


def _pair_row(form: PairFormat, store: Any) -> Any:
    codes, scales, minimums, size = form.codes, form.scales, form.minimums, form.type_size
    offset, has_minimum = float(form.offset), form.minimums is not None
    minimums = minimums if has_minimum else scales

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        n_blocks = n // 32
        for b in range(0, n_blocks, 2):
            p = src + b * size
            step = size if b + 1 < n_blocks else 0
            c = codes(p, p + step)
            d = scales(p, p, p, p, step)
            x0, x1 = (q0(c) - offset) * lane(d, 0), (q1(c) - offset) * lane(d, 0)
            x2, x3 = (q2(c) - offset) * lane(d, 1), (q3(c) - offset) * lane(d, 1)
            if has_minimum:
                m = minimums(p, p, p, p, step)
                x0, x1 = x0 + lane(m, 0), x1 + lane(m, 0)
                x2, x3 = x2 + lane(m, 1), x3 + lane(m, 1)
            store(dst, 32 * b, x0)
            store(dst, 32 * b + 16, x1)
            if step != 0:
                store(dst, 32 * b + 32, x2)
                store(dst, 32 * b + 48, x3)

    return row


def _super_row(form: SuperFormat, store: Any) -> Any:
    (c0, c1, c2, c3), scales, size = form.codes, form.scales, form.type_size
    offset, per = float(form.offset), form.sub // 16
    has_minimum = form.minimums is not None
    minimums = form.minimums if has_minimum else scales

    @inline
    def put(dst: Any, k: Any, c: Any, s: Any, m: Any, first: Any) -> None:
        for i in range(4):
            j = (first + i) // per
            x = q0(c) if i == 0 else q1(c) if i == 1 else q2(c) if i == 2 else q3(c)
            x = (x - offset) * lane(s, j)
            if has_minimum:
                x = x - lane(m, j)
            store(dst, k + 16 * i, x)

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for b in range(n // 256):
            p, k = src + b * size, 256 * b
            s, m = scales(p), minimums(p)
            put(dst, k, c0(p), s, m, 0)
            put(dst, k + 64, c1(p), s, m, 4)
            put(dst, k + 128, c2(p), s, m, 8)
            put(dst, k + 192, c3(p), s, m, 12)

    return row


def _plain_row(type_name: str) -> Any:
    load16, load1, size = LOADS[type_name]

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        whole = n - n % 16
        for k in range(0, whole, 16):
            store_f32x16(dst + 4 * k, load16(src + size * k))
        for k in range(whole, n):
            store_f32(dst + 4 * k, load1(src + size * k))

    return row


def row_to(type_name: str, store: Any) -> Any:
    """An inlinable function (src, dst, n): n values of a row at src, sixteen at a time through `store`.

    Args:
        type_name: one of PAIRS or SUPER.
        store: inlinable (dst, k, F32x16) -> None, for elements k to k + 15.
    """
    form = find(type_name)
    return _pair_row(form, store) if isinstance(form, PairFormat) else _super_row(form, store)


@cache
def row_to_f32(type_name: str) -> Any:
    """An inlinable function (src, dst, n): n values of a row at src as f32 at dst.

    n is a multiple of the block size. No byte outside the row is read or written.
    """
    if type_name in PLAIN:
        return _plain_row(type_name)
    if type_name in GRID:
        return dequantize_grid.row_to_f32(type_name)
    return row_to(type_name, store_plain)


def _register(type_name: str) -> None:
    @kernel(f"to_f32:{type_name}")
    def to_f32(src: Any, dst: Any, n: Any) -> None:
        row(src, dst, n)

    row = row_to_f32(type_name)


for _name in TYPES:
    _register(_name)
