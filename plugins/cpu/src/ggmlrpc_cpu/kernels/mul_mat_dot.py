"""MUL_MAT of few columns: weights are read once, in place, and multiplied four rows at a time.

Quantized weights meet columns of signed bytes (MUL_MAT:q8); plain weights meet f32. A result depends on its row and
column alone, not on threads, chunks or how many columns there are. Arguments: 0, 1 as in mul_mat_columns.py, 2:
rows per chunk, 3: nonzero when rows of src1 are used as they are (plain weights with F32 values).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import float32
from numba.extending import intrinsic

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import arg, nb, ne, take
from ggmlrpc_cpu.kernels.blocks.format import PAIRS, SUPER, PairFormat, SuperFormat, find
from ggmlrpc_cpu.kernels.blocks.vectors import (
    fma8,
    fma16,
    lane,
    make_dot,
    make_shuffle,
    prefetch_far,
    splat_pair,
    sum_lanes,
)
from ggmlrpc_cpu.kernels.dequantize import LOADS
from ggmlrpc_cpu.kernels.dequantize import PLAIN as PLAIN_TYPES
from ggmlrpc_cpu.kernels.mul_mat_columns import PLAIN, ROUTED, WEIGHTS, Columns, packed, row_address
from ggmlrpc_cpu.simd import (
    load_f32,
    load_f32x8,
    load_f32x16,
    load_i8x64,
    load_i32x16,
    store_f32,
    store_f32x4,
    to_f32x16,
    zero_f32x8,
    zero_f32x16,
    zero_i32x16,
)
from ggmlrpc_cpu.simd.types import F32x4, F32x16

halves = tuple(make_shuffle(F32x16, [2 * r] * 8 + [2 * r + 1] * 8) for r in range(4))
"""F32x8 of two scales for each of four rows -> the two of row r, eight lanes each."""
pair_sums = (make_shuffle(F32x4, [0, 2, 4, 6]), make_shuffle(F32x4, [1, 3, 5, 7]))
twice = make_shuffle(F32x16, [i // 2 for i in range(16)])
"""One number per 32 elements -> one per 16."""


@inline
def ask(p0: Any, p1: Any, p2: Any, p3: Any) -> None:
    """Prefetch four lines."""
    prefetch_far(p0)
    prefetch_far(p1)
    prefetch_far(p2)
    prefetch_far(p3)


@inline
def keep(x: Any) -> Any:
    """The same vector."""
    return x


@intrinsic
def with_zeros(typingctx: Any, x: Any) -> Any:
    """F32x8 -> F32x16, zeros above."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        zeros = ir.Constant(a[0].type, [0.0] * 8)
        return b.shuffle_vector(
            a[0], zeros, ir.Constant(ir.VectorType(ir.IntType(32), 16), list(range(16)))
        )

    return F32x16(x), codegen


def pair_rows4(form: PairFormat) -> Any:
    """(p0..p3, x, n) -> F32x4: four rows of a PairFormat times one column of n elements."""
    codes, scales, size = form.codes, form.scales, form.type_size
    has_offset, has_minimum = form.offset != 0, form.minimums is not None
    minimums = form.minimums if has_minimum else scales
    dot = make_dot(form.wide)
    h0, h1, h2, h3 = halves
    even, odd = pair_sums

    @inline
    def rows4(p0: Any, p1: Any, p2: Any, p3: Any, x: Any, n: Any, ahead: Any) -> Any:
        padded = (n + 63) // 64 * 64
        xd = x + 2 * padded
        xs = xd + padded // 8
        a0, a1, a2, a3 = zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()
        m = zero_f32x8()
        at = 0
        for k in range(0, padded, 64):
            # The block after an odd number of blocks is the last one again, times a scale of 0.
            step = size if k + 32 < n else 0
            q, start = load_i8x64(x + k), zero_i32x16()
            if has_offset:
                start = load_i32x16(x + padded + k)
            r0, r1, r2, r3 = p0 + at, p1 + at, p2 + at, p3 + at
            ask(r0 + ahead, r1 + ahead, r2 + ahead, r3 + ahead)
            d = scales(r0, r1, r2, r3, step) * splat_pair(xd + k // 8)
            if has_minimum:
                m = fma8(minimums(r0, r1, r2, r3, step), splat_pair(xs + k // 8), m)
            a0 = fma16(to_f32x16(dot(start, codes(r0, r0 + step), q)), h0(d), a0)
            a1 = fma16(to_f32x16(dot(start, codes(r1, r1 + step), q)), h1(d), a1)
            a2 = fma16(to_f32x16(dot(start, codes(r2, r2 + step), q)), h2(d), a2)
            a3 = fma16(to_f32x16(dot(start, codes(r3, r3 + step), q)), h3(d), a3)
            at += 2 * size
        total = sum_lanes(a0, a1, a2, a3)
        if has_minimum:
            total = total + even(m) + odd(m)
        return total

    return rows4


def super_rows4(form: SuperFormat) -> Any:
    """(p0..p3, x, n) -> F32x4: four rows of a SuperFormat times one column of n elements."""
    (c0, c1, c2, c3), scales, size = form.codes, form.scales, form.type_size
    has_offset, has_minimum, fine = form.offset != 0, form.minimums is not None, form.sub == 16
    minimums = form.minimums if has_minimum else scales
    dot = make_dot(form.wide)
    lanes = 4 if fine else 8
    s0, s1, s2, s3 = (
        make_shuffle(F32x16, [64 * g // form.sub + i // lanes for i in range(16)]) for g in range(4)
    )
    widen, per_scale = (twice, 4) if fine else (keep, 8)
    load_sums, fma, zero = (
        (load_f32x16, fma16, zero_f32x16) if fine else (load_f32x8, fma8, zero_f32x8)
    )
    to_16 = keep if fine else with_zeros

    @inline
    def start(x: Any) -> Any:
        return load_i32x16(x) if has_offset else zero_i32x16()

    @inline
    def row(p: Any, x: Any, n: Any, ahead: Any) -> Any:
        a, m = zero_f32x16(), zero()
        scale, sums, begin = x + 2 * n, x + 2 * n + n // 8, x + n
        for k in range(0, n, 256):
            for line in range(0, size, 64):
                prefetch_far(p + ahead + line)
            d = scales(p) * widen(load_f32x8(scale + k // 8))
            if has_minimum:
                m = fma(minimums(p), load_sums(sums + k // per_scale), m)
            i, y = begin + k, x + k
            a = fma16(to_f32x16(dot(start(i), c0(p), load_i8x64(y))), s0(d), a)
            a = fma16(to_f32x16(dot(start(i + 64), c1(p), load_i8x64(y + 64))), s1(d), a)
            a = fma16(to_f32x16(dot(start(i + 128), c2(p), load_i8x64(y + 128))), s2(d), a)
            a = fma16(to_f32x16(dot(start(i + 192), c3(p), load_i8x64(y + 192))), s3(d), a)
            p += size
        return a - to_16(m) if has_minimum else a

    @inline
    def rows4(p0: Any, p1: Any, p2: Any, p3: Any, x: Any, n: Any, ahead: Any) -> Any:
        return sum_lanes(
            row(p0, x, n, ahead), row(p1, x, n, ahead), row(p2, x, n, ahead), row(p3, x, n, ahead)
        )

    return rows4


def plain_rows4(type_name: str) -> Any:
    """(p0..p3, x, n) -> F32x4: four rows of F32, F16 or BF16 times one column of n f32."""
    load16, load1, size = LOADS[type_name]

    @inline
    def tail(p: Any, x: Any, first: Any, n: Any) -> Any:
        total = float32(0)
        for k in range(first, n):
            total += load1(p + size * k) * load_f32(x + 4 * k)
        return total

    @inline
    def rows4(p0: Any, p1: Any, p2: Any, p3: Any, x: Any, n: Any, ahead: Any) -> Any:
        a0, a1, a2, a3 = zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()
        b0, b1, b2, b3 = zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()
        pairs, whole = n - n % 32, n - n % 16
        for k in range(0, pairs, 32):
            y, at = load_f32x16(x + 4 * k), size * k
            ask(p0 + at + ahead, p1 + at + ahead, p2 + at + ahead, p3 + at + ahead)
            a0, a1 = fma16(load16(p0 + at), y, a0), fma16(load16(p1 + at), y, a1)
            a2, a3 = fma16(load16(p2 + at), y, a2), fma16(load16(p3 + at), y, a3)
            y, at = load_f32x16(x + 4 * k + 64), size * (k + 16)
            b0, b1 = fma16(load16(p0 + at), y, b0), fma16(load16(p1 + at), y, b1)
            b2, b3 = fma16(load16(p2 + at), y, b2), fma16(load16(p3 + at), y, b3)
        if whole > pairs:
            y, at = load_f32x16(x + 4 * pairs), size * pairs
            a0, a1 = fma16(load16(p0 + at), y, a0), fma16(load16(p1 + at), y, a1)
            a2, a3 = fma16(load16(p2 + at), y, a2), fma16(load16(p3 + at), y, a3)
        total = sum_lanes(a0 + b0, a1 + b1, a2 + b2, a3 + b3)
        if n > whole:
            total = total + four(
                tail(p0, x, whole, n),
                tail(p1, x, whole, n),
                tail(p2, x, whole, n),
                tail(p3, x, whole, n),
            )
        return total

    return rows4


@intrinsic
def four(typingctx: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    """Four f32 as a vector."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        v = ir.Constant(F32x4.ir, ir.Undefined)
        for i, x in enumerate(a):
            v = b.insert_element(v, x, ir.Constant(ir.IntType(32), i))
        return v

    return F32x4(x0, x1, x2, x3), codegen


def rows4_of(type_name: str) -> Any:
    """The product of four rows of a type with one column."""
    if type_name in PLAIN_TYPES:
        return plain_rows4(type_name)
    form = find(type_name)
    return pair_rows4(form) if isinstance(form, PairFormat) else super_rows4(form)


def register(type_name: str, columns: Columns) -> None:
    """Make the kernel of a type for MUL_MAT or MUL_MAT_ID."""
    n_groups, weights, count = columns.n_groups, columns.weights, columns.count
    row_of, result_of = columns.row, columns.result

    @kernel(f"{columns.prefix}:dot:{type_name}")
    def multiply(rec: Any, ith: Any, nth: Any) -> None:
        n, m, nb1 = ne(rec, WEIGHTS, 0), ne(rec, WEIGHTS, 1), nb(rec, WEIGHTS, 1)
        per, direct = arg(rec, 2), arg(rec, 3)
        chunks = (m + per - 1) // per
        items = n_groups(rec) * chunks
        while True:
            item = take(rec, 1)
            if item >= items:
                break
            g, first = item // chunks, item % chunks * per
            last = min(first + per, m)
            w, end = weights(rec, g), last - 1
            ahead = 8 * nb1  # far enough to hide memory, near enough to stay cached
            for c in range(count(rec, g)):
                row = row_of(rec, g, c)
                x = row_address(rec, row) if direct != 0 else packed(rec) + row * arg(rec, 1)
                out = result_of(rec, g, c)
                for r in range(first, last, 4):
                    p0, p1 = w + r * nb1, w + min(r + 1, end) * nb1
                    p2, p3 = w + min(r + 2, end) * nb1, w + min(r + 3, end) * nb1
                    values = rows4(p0, p1, p2, p3, x, n, ahead)
                    if r + 4 <= last:
                        store_f32x4(out + 4 * r, values)
                    else:
                        for i in range(last - r):
                            store_f32(out + 4 * (r + i), lane(values, i))

    rows4 = rows4_of(type_name)


for _name in (*PLAIN_TYPES, *PAIRS, *SUPER):
    register(_name, PLAIN)
    register(_name, ROUTED)
