"""RMS_NORM (alone and with the MUL that follows), NORM, L2_NORM, SOFT_MAX, SUM_ROWS on F32 rows without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import (
    address,
    arg,
    chunk_size,
    n_rows,
    nb,
    ne,
    param_f32,
    row,
    take,
    tiled_row,
)
from ggmlrpc_cpu.simd import (
    exp_f32,
    exp_f32x16,
    horizontal_max,
    horizontal_sum,
    load_f16,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_first_f32x16,
    maximum,
    splat_f32x16,
    sqrt,
    store_f32,
    store_f32x16,
    store_first_f32x16,
    to_f32x16,
    to_f64x16,
    zero_f64x16,
)


@inline
def sum_of_squares(a: Any, shift: Any, n: Any) -> Any:
    """Sum of (x - shift)^2, products in f32, sum in f64."""
    total, minus = zero_f64x16(), splat_f32x16(shift)
    for i in range(0, n - 15, 16):
        x = load_f32x16(a + 4 * i) - minus
        total = total + to_f64x16(x * x)
    result = horizontal_sum(total)
    for i in range(n // 16 * 16, n):
        x1 = load_f32(a + 4 * i) - shift
        result += np.float64(x1 * x1)
    return result


@inline
def row_sum(a: Any, n: Any) -> Any:
    """Sum in f64."""
    total = zero_f64x16()
    for i in range(0, n - 15, 16):
        total = total + to_f64x16(load_f32x16(a + 4 * i))
    result = horizontal_sum(total)
    for i in range(n // 16 * 16, n):
        result += np.float64(load_f32(a + 4 * i))
    return result


@inline
def shifted_scaled(d: Any, a: Any, shift: Any, scale: Any, n: Any) -> None:
    """d = (a - shift) * scale."""
    minus, factor = splat_f32x16(shift), splat_f32x16(scale)
    for i in range(0, n - 15, 16):
        store_f32x16(d + 4 * i, (load_f32x16(a + 4 * i) - minus) * factor)
    i = n // 16 * 16
    if i < n:
        store_first_f32x16(d + 4 * i, (load_first_f32x16(a + 4 * i, n - i) - minus) * factor, n - i)


@kernel("RMS_NORM:F32")
def rms_norm(rec: Any, ith: Any, nth: Any) -> None:
    n, rows, eps = ne(rec, 0, 0), n_rows(rec, 0), np.float64(param_f32(rec, 0))
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            a = row(rec, 1, r, 0)
            scale = np.float32(1.0 / sqrt(sum_of_squares(a, np.float32(0), n) / n + eps))
            shifted_scaled(row(rec, 0, r, 0), a, np.float32(0), scale, n)
        first = take(rec, chunk)


@kernel("RMS_NORM_MUL:F32")
def rms_norm_mul(rec: Any, ith: Any, nth: Any) -> None:
    """The node is the MUL; source 0 the input of the norm, source 1 the weight, tiled; its row is full length."""
    n, rows, eps = ne(rec, 0, 0), n_rows(rec, 0), np.float64(param_f32(rec, 0))
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            a, d, w = row(rec, 1, r, 0), row(rec, 0, r, 0), tiled_row(rec, 2, r)
            scale = np.float32(1.0 / sqrt(sum_of_squares(a, np.float32(0), n) / n + eps))
            for i in range(0, n - 15, 16):
                store_f32x16(d + 4 * i, load_f32x16(a + 4 * i) * scale * load_f32x16(w + 4 * i))
            i = n // 16 * 16
            if i < n:
                y = (
                    load_first_f32x16(a + 4 * i, n - i)
                    * scale
                    * load_first_f32x16(w + 4 * i, n - i)
                )
                store_first_f32x16(d + 4 * i, y, n - i)
        first = take(rec, chunk)


@kernel("NORM:F32")
def norm(rec: Any, ith: Any, nth: Any) -> None:
    n, rows, eps = ne(rec, 0, 0), n_rows(rec, 0), np.float64(param_f32(rec, 0))
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            a = row(rec, 1, r, 0)
            mean = np.float32(row_sum(a, n) / n)
            scale = np.float32(1.0 / sqrt(sum_of_squares(a, mean, n) / n + eps))
            shifted_scaled(row(rec, 0, r, 0), a, mean, scale, n)
        first = take(rec, chunk)


@kernel("L2_NORM:F32")
def l2_norm(rec: Any, ith: Any, nth: Any) -> None:
    n, rows, eps = ne(rec, 0, 0), n_rows(rec, 0), np.float64(param_f32(rec, 0))
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            a = row(rec, 1, r, 0)
            length = sqrt(sum_of_squares(a, np.float32(0), n))
            scale = np.float32(1.0 / (length if length > eps else eps))
            shifted_scaled(row(rec, 0, r, 0), a, np.float32(0), scale, n)
        first = take(rec, chunk)


@kernel("SUM_ROWS:F32")
def sum_rows(rec: Any, ith: Any, nth: Any) -> None:
    n, rows = ne(rec, 1, 0), n_rows(rec, 0)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            store_f32(row(rec, 0, r, 0), np.float32(row_sum(row(rec, 1, r, 0), n)))
        first = take(rec, chunk)


LOWEST = np.finfo(np.float32).min


@inline
def _mask_at(mask: Any, half: Any, i: Any) -> Any:
    return load_f16(mask + 2 * i) if half else load_f32(mask + 4 * i)


@inline
def _mask16(mask: Any, half: Any, i: Any) -> Any:
    if half:
        return to_f32x16(load_f16x16(mask + 2 * i))
    return load_f32x16(mask + 4 * i)


@kernel("SOFT_MAX:F32")
def soft_max(rec: Any, ith: Any, nth: Any) -> None:
    """Sources: 0 a, 1 mask (F32, or F16 when args[0]), 2 sinks. args[1]: address of the slope of each head, f32."""
    n, rows, scale = ne(rec, 0, 0), n_rows(rec, 0), param_f32(rec, 0)
    half, slopes = arg(rec, 0), arg(rec, 1)
    n1, n2 = ne(rec, 0, 1), ne(rec, 0, 2)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            a, d = row(rec, 1, r, 0), row(rec, 0, r, 0)
            head = r // n1 % n2
            mask, slope = np.int64(0), np.float32(1)
            if address(rec, 2) != 0:
                i3 = r // (n1 * n2)
                mask = (
                    address(rec, 2) + r % n1 * nb(rec, 2, 1) + head % ne(rec, 2, 2) * nb(rec, 2, 2)
                )
                mask += i3 % ne(rec, 2, 3) * nb(rec, 2, 3)
                slope = load_f32(slopes + 4 * head)
            highest16, highest = splat_f32x16(np.float32(LOWEST)), np.float32(LOWEST)
            for i in range(0, n - 15, 16):
                x = load_f32x16(a + 4 * i) * scale
                if mask != 0:
                    x = x + _mask16(mask, half, i) * slope
                store_f32x16(d + 4 * i, x)
                highest16 = maximum(highest16, x)
            for i in range(n // 16 * 16, n):
                x1 = load_f32(a + 4 * i) * scale
                if mask != 0:
                    x1 += _mask_at(mask, half, i) * slope
                store_f32(d + 4 * i, x1)
                highest = max(highest, x1)
            highest = max(highest, horizontal_max(highest16))
            if address(rec, 3) != 0:
                highest = max(highest, load_f32(address(rec, 3) + 4 * head))
            total16, top = zero_f64x16(), splat_f32x16(highest)
            for i in range(0, n - 15, 16):
                x = exp_f32x16(load_f32x16(d + 4 * i) - top)
                store_f32x16(d + 4 * i, x)
                total16 = total16 + to_f64x16(x)
            total = horizontal_sum(total16)
            for i in range(n // 16 * 16, n):
                x1 = exp_f32(load_f32(d + 4 * i) - highest)
                store_f32(d + 4 * i, x1)
                total += np.float64(x1)
            if address(rec, 3) != 0:
                total += np.float64(exp_f32(load_f32(address(rec, 3) + 4 * head) - highest))
            shifted_scaled(d, d, np.float32(0), np.float32(1.0 / total), n)
        first = take(rec, chunk)
