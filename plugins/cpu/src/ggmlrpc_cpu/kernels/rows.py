"""GET_ROWS and SET_ROWS: rows picked and written by number, converted by a row function."""

from __future__ import annotations

from typing import Any

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import (
    address,
    arg,
    chunk_size,
    n_rows,
    nb,
    ne,
    report_id,
    row,
    row_function,
    take,
)
from ggmlrpc_cpu.simd import call3, copy_bytes, load_i32, load_i64


@inline
def id_at(rec: Any, k: Any, i0: Any, i1: Any, i2: Any, wide: Any) -> Any:
    """An id of tensor k, I64 when `wide`, else I32."""
    at = address(rec, k) + i0 * nb(rec, k, 0) + i1 * nb(rec, k, 1) + i2 * nb(rec, k, 2)
    return load_i64(at) if wide else int(load_i32(at))


@kernel("GET_ROWS")
def get_rows(rec: Any, ith: Any, nth: Any) -> None:
    """args[0]: bytes of a row that is copied as it is; 0: row function 0 converts it to f32."""
    n, r1, r2 = ne(rec, 0, 0), ne(rec, 2, 0), ne(rec, 2, 1)
    limit, rows, size = ne(rec, 1, 1), n_rows(rec, 0), arg(rec, 0)
    chunk = chunk_size(rec, rows, nth)
    first = take(rec, chunk)
    while first < rows:
        for r in range(first, min(first + chunk, rows)):
            outer = r // r1
            i3 = outer // r2
            i1, i2 = r - outer * r1, outer - i3 * r2
            chosen = id_at(rec, 2, i1, i2, i3, False)
            if chosen < 0 or chosen >= limit:
                report_id(rec, chosen, limit)
                continue
            a = address(rec, 1) + chosen * nb(rec, 1, 1) + i2 * nb(rec, 1, 2) + i3 * nb(rec, 1, 3)
            d = row(rec, 0, r, 0)
            if size != 0:
                copy_bytes(d, a, size)
            else:
                call3(row_function(rec, 0), a, d, n)
        first = take(rec, chunk)


@kernel("SET_ROWS")
def set_rows(rec: Any, ith: Any, nth: Any) -> None:
    """Row function 0 writes a row. args: 0 ids are I64, 1 columns of a work item, 2 bytes of them in the node.

    Threads share columns, not rows: of equal ids the last counts, whoever is first.
    """
    n, n1, n2 = ne(rec, 1, 0), ne(rec, 1, 1), ne(rec, 1, 2)
    limit, rows, wide = ne(rec, 0, 1), n_rows(rec, 1), arg(rec, 0)
    width, width_bytes = arg(rec, 1), arg(rec, 2)
    items = (n + width - 1) // width
    item = take(rec, 1)
    while item < items:
        size = min(width, n - item * width)
        for r in range(rows):
            outer = r // n1
            i3 = outer // n2
            i1, i2 = r - outer * n1, outer - i3 * n2
            chosen = id_at(rec, 2, i1, i2 % ne(rec, 2, 1), i3 % ne(rec, 2, 2), wide)
            if chosen < 0 or chosen >= limit:
                report_id(rec, chosen, limit)
                continue
            d = address(rec, 0) + chosen * nb(rec, 0, 1) + i2 * nb(rec, 0, 2) + i3 * nb(rec, 0, 3)
            a = row(rec, 1, r, 1) + 4 * item * width
            call3(row_function(rec, 0), a, d + item * width_bytes, size)
        item = take(rec, 1)
