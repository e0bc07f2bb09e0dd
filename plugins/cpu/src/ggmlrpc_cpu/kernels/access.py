"""How a kernel reads its record, and how threads share its work."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_cpu import record as R
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.simd import (
    atomic_add,
    atomic_load,
    compare_exchange,
    load_f32,
    load_i32,
    load_i64,
    store_i64,
)

BEYOND_ALL = np.int64(1 << 62)
"""What `take` answers when the run is to end: more than any record has items."""
CHUNK_ELEMENTS = 1 << 20
"""Elements after which a thread looks whether to stop: a few milliseconds."""


@inline
def slot(rec: Any, i: Any) -> Any:
    """int64 slot i."""
    return load_i64(rec + 8 * i)


@inline
def address(rec: Any, k: Any) -> Any:
    """Address of tensor k (0: the node, 1 + s: source s); 0 when absent."""
    return load_i64(rec + 8 * (R.TENSORS + R.TENSOR_SLOTS * k + R.ADDRESS))


@inline
def type_id(rec: Any, k: Any) -> Any:
    """Type number of tensor k."""
    return load_i64(rec + 8 * (R.TENSORS + R.TENSOR_SLOTS * k + R.TYPE))


@inline
def ne(rec: Any, k: Any, d: Any) -> Any:
    """Elements of tensor k in dimension d."""
    return load_i64(rec + 8 * (R.TENSORS + R.TENSOR_SLOTS * k + R.NE + d))


@inline
def nb(rec: Any, k: Any, d: Any) -> Any:
    """Stride in bytes of tensor k in dimension d."""
    return load_i64(rec + 8 * (R.TENSORS + R.TENSOR_SLOTS * k + R.NB + d))


@inline
def n_rows(rec: Any, k: Any) -> Any:
    """Rows of tensor k."""
    return ne(rec, k, 1) * ne(rec, k, 2) * ne(rec, k, 3)


@inline
def param_i32(rec: Any, i: Any) -> Any:
    """op_params[i] as an integer."""
    return load_i32(rec + 8 * R.OP_PARAMS + 4 * i)


@inline
def param_f32(rec: Any, i: Any) -> Any:
    """op_params[i] as a float."""
    return load_f32(rec + 8 * R.OP_PARAMS + 4 * i)


@inline
def arg(rec: Any, i: Any) -> Any:
    """Integer i that the planner left for this kernel."""
    return load_i64(rec + 8 * (R.ARGS + i))


@inline
def row_function(rec: Any, i: Any) -> Any:
    """Address of row function i, for call3(function, src, dst, n)."""
    return load_i64(rec + 8 * (R.ROW_FUNCTION + i))


@inline
def stopped(rec: Any) -> Any:
    """Whether the run is to end. A loop that can take more than a few milliseconds between two `take` looks here."""
    return atomic_load(load_i64(rec + 8 * R.ERROR) + 8 * R.ERROR_STOP) != 0


@inline
def take(rec: Any, n: Any) -> Any:
    """Take the next n work items: the index of the first, counting over all threads; beyond all when stopped."""
    if stopped(rec):
        return BEYOND_ALL
    return atomic_add(load_i64(rec + 8 * R.COUNTER), n)


@inline
def chunk_size(rec: Any, items: Any, nth: Any) -> Any:
    """Items to take at once: about four turns per thread, and at most about CHUNK_ELEMENTS in rows of the record."""
    most = max(1, CHUNK_ELEMENTS // max(1, ne(rec, 0, 0), ne(rec, 1, 0)))
    return max(1, min(most, (items + 4 * nth - 1) // (4 * nth)))


@inline
def report_id(rec: Any, found: Any, limit: Any) -> Any:
    """Record that an id in tensor data is outside [0, limit); the first report wins."""
    error = load_i64(rec + 8 * R.ERROR)
    if compare_exchange(error, 0, -1):
        store_i64(error + 8, found)
        store_i64(error + 16, limit)
        store_i64(error, load_i64(rec + 8 * R.NODE) + 1)


@inline
def row(rec: Any, k: Any, r: Any, like: Any) -> Any:
    """Address of row r of tensor k, rows counted over dimensions 1 to 3 of tensor `like`."""
    n1, n2 = ne(rec, like, 1), ne(rec, like, 2)
    outer = r // n1
    i3 = outer // n2
    i1, i2 = r - outer * n1, outer - i3 * n2
    return address(rec, k) + i1 * nb(rec, k, 1) + i2 * nb(rec, k, 2) + i3 * nb(rec, k, 3)


@inline
def tiled_row(rec: Any, k: Any, r: Any) -> Any:
    """Address of the row of tensor k that row r of the node meets when k is tiled over the node."""
    n1, n2 = ne(rec, 0, 1), ne(rec, 0, 2)
    outer = r // n1
    i3 = outer // n2
    i1, i2 = (r - outer * n1) % ne(rec, k, 1), (outer - i3 * n2) % ne(rec, k, 2)
    return (
        address(rec, k)
        + i1 * nb(rec, k, 1)
        + i2 * nb(rec, k, 2)
        + i3 % ne(rec, k, 3) * nb(rec, k, 3)
    )
