"""CPY, CONT, DUP, CONCAT, REPEAT, PAD: rows that move or change their type."""

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
    param_i32,
    row,
    row_function,
    slot,
    take,
    tiled_row,
)
from ggmlrpc_cpu.record import SCRATCH
from ggmlrpc_cpu.simd import (
    call3,
    copy_bytes,
    load_f32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    store_f32,
    store_i64,
    store_u8,
    store_u16,
    store_u32,
    zero_bytes,
)


@inline
def gather(d: Any, d_step: Any, a: Any, a_step: Any, n: Any, size: Any) -> None:
    """Copy n elements of `size` bytes with steps in bytes."""
    if d_step == size and a_step == size:
        copy_bytes(d, a, n * size)
    elif size == 4:
        for i in range(n):
            store_u32(d + i * d_step, load_u32(a + i * a_step))
    elif size == 2:
        for i in range(n):
            store_u16(d + i * d_step, load_u16(a + i * a_step))
    elif size == 8:
        for i in range(n):
            store_i64(d + i * d_step, load_i64(a + i * a_step))
    else:
        for i in range(n):
            store_u8(d + i * d_step, load_u8(a + i * a_step))


@kernel("COPY")
def copy(rec: Any, ith: Any, nth: Any) -> None:
    """Node = source 0 of equal shape and type. args: 0 bytes of an element, 1 elements of a row."""
    size, n, rows = arg(rec, 0), arg(rec, 1), n_rows(rec, 0)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            gather(row(rec, 0, r, 0), nb(rec, 0, 0), row(rec, 1, r, 0), nb(rec, 1, 0), n, size)
        first = take(rec, chunk)


@kernel("CONVERT")
def convert(rec: Any, ith: Any, nth: Any) -> None:
    """Node = source 0 of equal shape and other type, over a row of f32 in scratch for each thread.

    Row function 0 makes f32 of a source row, row function 1 makes the node's row. args: 0 bytes of a source
    element when its rows have gaps, else 0; 1 bytes of scratch for a thread.
    """
    n, rows, size = ne(rec, 0, 0), n_rows(rec, 0), arg(rec, 0)
    middle = slot(rec, SCRATCH) + ith * arg(rec, 1)
    packed = middle + 4 * n
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            a = row(rec, 1, r, 0)
            if size != 0:
                gather(packed, size, a, nb(rec, 1, 0), n, size)
                a = packed
            call3(row_function(rec, 0), a, middle, n)
            call3(row_function(rec, 1), middle, row(rec, 0, r, 0), n)
        first = take(rec, chunk)


@kernel("REPEAT")
def repeat(rec: Any, ith: Any, nth: Any) -> None:
    """Node = source 0 tiled. args: 0 bytes of an element."""
    size, n, m, rows = arg(rec, 0), ne(rec, 0, 0), ne(rec, 1, 0), n_rows(rec, 0)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            d, a = row(rec, 0, r, 0), tiled_row(rec, 1, r)
            for i in range(0, n, m):
                gather(d + i * size, size, a, nb(rec, 1, 0), m, size)
        first = take(rec, chunk)


@kernel("PAD:F32")
def pad(rec: Any, ith: Any, nth: Any) -> None:
    """Node = source 0 with zeros around it; op_params: left and right of each dimension."""
    n, m, rows = ne(rec, 0, 0), ne(rec, 1, 0), n_rows(rec, 0)
    n1, n2 = ne(rec, 0, 1), ne(rec, 0, 2)
    left = np.int64(param_i32(rec, 0))
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            outer = r // n1
            i3 = outer // n2 - param_i32(rec, 6)
            i1, i2 = r - outer * n1 - param_i32(rec, 2), outer % n2 - param_i32(rec, 4)
            d = row(rec, 0, r, 0)
            inside = i1 >= 0 and i1 < ne(rec, 1, 1) and i2 >= 0 and i2 < ne(rec, 1, 2)
            if inside and i3 >= 0 and i3 < ne(rec, 1, 3):
                a = address(rec, 1) + i1 * nb(rec, 1, 1) + i2 * nb(rec, 1, 2) + i3 * nb(rec, 1, 3)
                zero_bytes(d, 4 * left)
                for i in range(m):
                    store_f32(d + 4 * (left + i), load_f32(a + i * nb(rec, 1, 0)))
                zero_bytes(d + 4 * (left + m), 4 * (n - left - m))
            else:
                zero_bytes(d, 4 * n)
        first = take(rec, chunk)
