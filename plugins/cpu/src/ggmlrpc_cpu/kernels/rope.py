"""ROPE on F32 and F16: angles once for all layers that turn by the same ones, then rotation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import address, arg, chunk_size, n_rows, nb, ne, row, slot, take
from ggmlrpc_cpu.record import SHARED
from ggmlrpc_cpu.simd import (
    copy_bytes,
    even_lanes,
    interleave_high,
    interleave_low,
    load_f16,
    load_f32,
    load_f32x16,
    load_f64,
    load_first_f32x16,
    load_i32,
    load_i64,
    odd_lanes,
    store_f16,
    store_f32,
    store_f32x16,
    store_first_f32x16,
)


@kernel("ROPE_ANGLES")
def rope_angles(rec: Any, ith: Any, nth: Any) -> None:
    """Cosines, then sines, f32, of each token into the shared region.

    Source 0: positions; source 1: frequency factors or absent. args: 0 pairs, 1 tokens, addresses of 2 f64 steps,
    3 i64 axes, 4 f64 shares of the unscaled angle, 5 f64 [scale, magnitude].
    """
    pairs, tokens = arg(rec, 0), arg(rec, 1)
    steps, axes, mix, scales = arg(rec, 2), arg(rec, 3), arg(rec, 4), arg(rec, 5)
    scale, magnitude = load_f64(scales), load_f64(scales + 8)
    chunk = chunk_size(rec, tokens, nth)
    first = take(rec, chunk)
    while first < tokens:
        for t in range(first, min(first + chunk, tokens)):
            out = slot(rec, SHARED) + 8 * pairs * t
            for p in range(pairs):
                at = t + load_i64(axes + 8 * p) * tokens
                theta = load_i32(address(rec, 1) + at * nb(rec, 1, 0)) * load_f64(steps + 8 * p)
                if address(rec, 2) != 0:
                    theta /= np.float64(load_f32(address(rec, 2) + p * nb(rec, 2, 0)))
                share = load_f64(mix + 8 * p)
                angle = theta * scale * (1.0 - share) + theta * share
                store_f32(out + 4 * p, np.float32(math.cos(angle) * magnitude))
                store_f32(out + 4 * (pairs + p), np.float32(math.sin(angle) * magnitude))
        first = take(rec, chunk)


@inline
def turn_halves(d: Any, a: Any, cos: Any, pairs: Any) -> None:
    """Turn elements i and i + pairs."""
    sin = cos + 4 * pairs
    for i in range(0, pairs, 16):
        n = pairs - i
        x, y = load_first_f32x16(a + 4 * i, n), load_first_f32x16(a + 4 * (pairs + i), n)
        c, s = load_first_f32x16(cos + 4 * i, n), load_first_f32x16(sin + 4 * i, n)
        store_first_f32x16(d + 4 * i, x * c - y * s, n)
        store_first_f32x16(d + 4 * (pairs + i), x * s + y * c, n)


@inline
def turn_neighbours(d: Any, a: Any, cos: Any, pairs: Any) -> None:
    """Turn elements 2i and 2i + 1."""
    sin = cos + 4 * pairs
    for i in range(0, pairs - 15, 16):
        low, high = load_f32x16(a + 8 * i), load_f32x16(a + 8 * i + 64)
        x, y = even_lanes(low, high), odd_lanes(low, high)
        c, s = load_f32x16(cos + 4 * i), load_f32x16(sin + 4 * i)
        p, q = x * c - y * s, x * s + y * c
        store_f32x16(d + 8 * i, interleave_low(p, q))
        store_f32x16(d + 8 * i + 64, interleave_high(p, q))
    for i in range(pairs // 16 * 16, pairs):
        x1, y1 = load_f32(a + 8 * i), load_f32(a + 8 * i + 4)
        c1, s1 = load_f32(cos + 4 * i), load_f32(sin + 4 * i)
        store_f32(d + 8 * i, x1 * c1 - y1 * s1)
        store_f32(d + 8 * i + 4, x1 * s1 + y1 * c1)


@kernel("ROPE:F32")
def rope_f32(rec: Any, ith: Any, nth: Any) -> None:
    """args: 0 pairs, 1 first element that is turned, 2 pairs are neighbours."""
    pairs, start, neighbours = arg(rec, 0), arg(rec, 1), arg(rec, 2)
    n, rows, n1, n2 = ne(rec, 0, 0), n_rows(rec, 0), ne(rec, 0, 1), ne(rec, 0, 2)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            d, a = row(rec, 0, r, 0), row(rec, 1, r, 0)
            cos = slot(rec, SHARED) + 8 * pairs * (r // n1 % n2)
            if d != a:
                copy_bytes(d, a, 4 * start)
                end = 4 * (start + 2 * pairs)
                copy_bytes(d + end, a + end, 4 * n - end)
            if neighbours != 0:
                turn_neighbours(d + 4 * start, a + 4 * start, cos, pairs)
            else:
                turn_halves(d + 4 * start, a + 4 * start, cos, pairs)
        first = take(rec, chunk)


@kernel("ROPE:F16")
def rope_f16(rec: Any, ith: Any, nth: Any) -> None:
    """As ROPE:F32."""
    pairs, start, neighbours = arg(rec, 0), arg(rec, 1), arg(rec, 2)
    n, rows, n1, n2 = ne(rec, 0, 0), n_rows(rec, 0), ne(rec, 0, 1), ne(rec, 0, 2)
    step, apart = (4, 2) if neighbours != 0 else (2, 2 * pairs)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            d, a = row(rec, 0, r, 0), row(rec, 1, r, 0)
            cos = slot(rec, SHARED) + 8 * pairs * (r // n1 % n2)
            if d != a:
                copy_bytes(d, a, 2 * start)
                end = 2 * (start + 2 * pairs)
                copy_bytes(d + end, a + end, 2 * n - end)
            for p in range(pairs):
                at = 2 * start + p * step
                x, y = load_f16(a + at), load_f16(a + at + apart)
                c, s = load_f32(cos + 4 * p), load_f32(cos + 4 * (pairs + p))
                store_f16(d + at, x * c - y * s)
                store_f16(d + at + apart, x * s + y * c)
        first = take(rec, chunk)
