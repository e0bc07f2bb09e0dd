"""The columns of MUL_MAT and MUL_MAT_ID: where they are, where their results go, and what they are converted to.

A *group* is one matrix of weights with the columns that it meets: of MUL_MAT the broadcast of src1 over src0, of
MUL_MAT_ID the tokens that chose one expert. `PLAIN` and `ROUTED` answer the same questions for the two ops; kernels
are made once over them. Rows of src1 are numbered in the order of ne1, ne2, ne3 (`row`).

The shared memory of a record holds, from argument 0 on, the converted rows, `stride` bytes apart (argument 1). For
MUL_MAT_ID the routing table comes before them, int64 slots:

    n_active | n_tiles | 6 spare | expert[n] | start[n] | count[n] | tile[n] | entry[n_used * n_tokens]

for the n_active experts that somebody chose; entries `start` to `start + count` are i_used + n_used * i_token, and
`tile` is the first tile of 16 columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numba import float32, int64

from ggmlrpc_cpu import record as R
from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import address, arg, nb, ne, report_id, slot, stopped, take
from ggmlrpc_cpu.kernels.blocks.vectors import make_dot
from ggmlrpc_cpu.simd import (
    absolute,
    horizontal_max,
    horizontal_sum,
    load_f16,
    load_f32x16,
    load_i8x64,
    load_i32,
    load_i64,
    maximum,
    round_even,
    store_f32,
    store_i8x16,
    store_i32x16,
    store_i64,
    to_i8x16,
    to_i32x16,
    zero_bytes,
    zero_f32x16,
    zero_i32x16,
)
from ggmlrpc_cpu.simd.types import U8x64, make_splat

WEIGHTS, VALUES, IDS = 1, 2, 3  # tensor slots: src0, src1, src2
TABLE_HEAD = 8  # slots before the lists of the routing table


@dataclass(frozen=True, slots=True)
class Columns:
    """Inlinable functions over a record.

    Attributes:
        prefix: of kernel names.
        n_groups: (rec).
        weights: (rec, g) -> address of the group's matrix.
        count: (rec, g) -> columns.
        n_tiles: (rec) -> tiles of 16 columns, all groups together.
        tile_group: (rec, tile) -> group.
        first_tile: (rec, g) -> number of its first tile of 16 columns; groups begin with a new tile.
        row: (rec, g, c) -> row of src1.
        result: (rec, g, c) -> address of the column of the result.
    """

    prefix: str
    n_groups: Any
    weights: Any
    count: Any
    n_tiles: Any
    tile_group: Any
    first_tile: Any
    row: Any
    result: Any


@inline
def packed(rec: Any) -> Any:
    """Address of the converted rows."""
    return slot(rec, R.SHARED) + arg(rec, 0)


@inline
def n_values(rec: Any) -> Any:
    """Rows of src1."""
    return ne(rec, VALUES, 1) * ne(rec, VALUES, 2) * ne(rec, VALUES, 3)


@inline
def row_address(rec: Any, row: Any) -> Any:
    """Address of a row of src1."""
    n1, n2 = ne(rec, VALUES, 1), ne(rec, VALUES, 2)
    i1, rest = row % n1, row // n1
    return (
        address(rec, VALUES)
        + i1 * nb(rec, VALUES, 1)
        + rest % n2 * nb(rec, VALUES, 2)
        + rest // n2 * nb(rec, VALUES, 3)
    )


@inline
def _plain_n_groups(rec: Any) -> Any:
    return ne(rec, WEIGHTS, 2) * ne(rec, WEIGHTS, 3)


@inline
def _plain_weights(rec: Any, g: Any) -> Any:
    n2 = ne(rec, WEIGHTS, 2)
    return address(rec, WEIGHTS) + g % n2 * nb(rec, WEIGHTS, 2) + g // n2 * nb(rec, WEIGHTS, 3)


@inline
def _plain_count(rec: Any, g: Any) -> Any:
    return n_values(rec) // _plain_n_groups(rec)


@inline
def _plain_first_tile(rec: Any, g: Any) -> Any:
    return g * ((_plain_count(rec, g) + 15) // 16)


@inline
def _plain_n_tiles(rec: Any) -> Any:
    return _plain_first_tile(rec, _plain_n_groups(rec))


@inline
def _plain_tile_group(rec: Any, tile: Any) -> Any:
    return tile // _plain_first_tile(rec, 1)


@inline
def _plain_place(rec: Any, g: Any, c: Any) -> Any:
    """(i1, i2, i3) of column c of a group: rows of one matrix first, then those that share the weights."""
    n1, w2 = ne(rec, VALUES, 1), ne(rec, WEIGHTS, 2)
    r2, r3 = ne(rec, VALUES, 2) // w2, ne(rec, VALUES, 3) // ne(rec, WEIGHTS, 3)
    rest = c // n1
    return c % n1, g % w2 * r2 + rest % r2, g // w2 * r3 + rest // r2


@inline
def _plain_row(rec: Any, g: Any, c: Any) -> Any:
    i1, i2, i3 = _plain_place(rec, g, c)
    return i1 + ne(rec, VALUES, 1) * (i2 + ne(rec, VALUES, 2) * i3)


@inline
def _plain_result(rec: Any, g: Any, c: Any) -> Any:
    i1, i2, i3 = _plain_place(rec, g, c)
    return address(rec, 0) + i1 * nb(rec, 0, 1) + i2 * nb(rec, 0, 2) + i3 * nb(rec, 0, 3)


PLAIN = Columns(
    prefix="MUL_MAT",
    n_groups=_plain_n_groups,
    weights=_plain_weights,
    count=_plain_count,
    n_tiles=_plain_n_tiles,
    tile_group=_plain_tile_group,
    first_tile=_plain_first_tile,
    row=_plain_row,
    result=_plain_result,
)


@inline
def _list(rec: Any, which: Any, i: Any) -> Any:
    """Slot address in list `which` (0 expert, 1 start, 2 count, 3 tile, 4 entry) of the routing table."""
    return slot(rec, R.SHARED) + 8 * (TABLE_HEAD + which * ne(rec, WEIGHTS, 2) + i)


@inline
def _routed_n_groups(rec: Any) -> Any:
    return load_i64(slot(rec, R.SHARED))


@inline
def _routed_weights(rec: Any, g: Any) -> Any:
    return address(rec, WEIGHTS) + load_i64(_list(rec, 0, g)) * nb(rec, WEIGHTS, 2)


@inline
def _routed_count(rec: Any, g: Any) -> Any:
    return load_i64(_list(rec, 2, g))


@inline
def _routed_first_tile(rec: Any, g: Any) -> Any:
    return load_i64(_list(rec, 3, g))


@inline
def _routed_n_tiles(rec: Any) -> Any:
    return load_i64(slot(rec, R.SHARED) + 8)


@inline
def _routed_tile_group(rec: Any, tile: Any) -> Any:
    g = _routed_n_groups(rec) - 1
    while _routed_first_tile(rec, g) > tile:
        g -= 1
    return g


@inline
def _routed_entry(rec: Any, g: Any, c: Any) -> Any:
    return load_i64(_list(rec, 4, load_i64(_list(rec, 1, g)) + c))


@inline
def _routed_row(rec: Any, g: Any, c: Any) -> Any:
    entry, n_used, n1 = _routed_entry(rec, g, c), ne(rec, IDS, 0), ne(rec, VALUES, 1)
    return entry % n_used % n1 + n1 * (entry // n_used)


@inline
def _routed_result(rec: Any, g: Any, c: Any) -> Any:
    entry, n_used = _routed_entry(rec, g, c), ne(rec, IDS, 0)
    return address(rec, 0) + entry % n_used * nb(rec, 0, 1) + entry // n_used * nb(rec, 0, 2)


ROUTED = Columns(
    prefix="MUL_MAT_ID",
    n_groups=_routed_n_groups,
    weights=_routed_weights,
    count=_routed_count,
    n_tiles=_routed_n_tiles,
    tile_group=_routed_tile_group,
    first_tile=_routed_first_tile,
    row=_routed_row,
    result=_routed_result,
)


@kernel("MUL_MAT_ID:route")
def route(rec: Any, ith: Any, nth: Any) -> None:
    """Fill the routing table; one thread. An id outside the experts is reported and its column left alone."""
    if ith != 0:
        return
    table, n = slot(rec, R.SHARED), ne(rec, WEIGHTS, 2)
    n_used, n_tokens = ne(rec, IDS, 0), ne(rec, IDS, 1)
    zero_bytes(table, 8 * (TABLE_HEAD + 4 * n))
    # Counts of all experts first, in the list of counts; then the active ones move to the front.
    for t in range(n_tokens):
        for u in range(n_used):
            e = int64(load_i32(address(rec, IDS) + u * nb(rec, IDS, 0) + t * nb(rec, IDS, 1)))
            if e < 0 or e >= n:
                report_id(rec, e, n)
            else:
                store_i64(_list(rec, 2, e), load_i64(_list(rec, 2, e)) + 1)
    active, start, tile = int64(0), int64(0), int64(0)
    for e in range(n):
        if stopped(rec):
            break
        count = load_i64(_list(rec, 2, e))
        if count > 0:
            store_i64(_list(rec, 0, active), e)
            store_i64(_list(rec, 1, active), start)
            store_i64(_list(rec, 2, active), count)
            store_i64(_list(rec, 3, active), tile)
            place = start
            for t in range(n_tokens):
                for u in range(n_used):
                    if (
                        int64(
                            load_i32(address(rec, IDS) + u * nb(rec, IDS, 0) + t * nb(rec, IDS, 1))
                        )
                        == e
                    ):
                        store_i64(_list(rec, 4, place), u + n_used * t)
                        place += 1
            active, start, tile = active + 1, start + count, tile + (count + 15) // 16
    store_i64(table, active)
    store_i64(table + 8, tile)


load_codes, splat_u8x64, dot = load_i8x64, make_splat(U8x64), make_dot(False)


@kernel("MUL_MAT:q8")
def quantize_columns(rec: Any, ith: Any, nth: Any) -> None:
    """Rows of src1, F32, to signed bytes with a scale per 32.

    Arguments: 0 and 1 as in the module; 2: offset of the weights' codes; 3: elements per sum, 16 or 32. A converted row
    of K elements, with Kp the next multiple of 64, zeros beyond K:

        Kp bytes | Kp / 4 i32: minus offset times the sum of four bytes | Kp / 32 f32 scales | f32 scale times sum

    The second part starts the dot products of unsigned codes, so that they come out as those of (code - offset).
    """
    n = ne(rec, VALUES, 0)
    padded = (n + 63) // 64 * 64
    offset, per_sum = arg(rec, 2), arg(rec, 3)
    rows = n_values(rec)
    while True:
        row = take(rec, 1)
        if row >= rows:
            break
        x, out = row_address(rec, row), packed(rec) + row * arg(rec, 1)
        scales, sums = out + 2 * padded, out + 2 * padded + padded // 8
        for k in range(0, padded, 32):
            low, high = zero_f32x16(), zero_f32x16()
            if k < n:
                low, high = load_f32x16(x + 4 * k), load_f32x16(x + 4 * k + 64)
            d = horizontal_max(maximum(absolute(low), absolute(high))) / float32(127)
            inverse = float32(1) / d if d > float32(0) else float32(0)
            low, high = round_even(low * inverse), round_even(high * inverse)
            store_i8x16(out + k, to_i8x16(to_i32x16(low)))
            store_i8x16(out + k + 16, to_i8x16(to_i32x16(high)))
            store_f32(scales + k // 8, d)
            if per_sum == 16:
                store_f32(sums + k // 4, d * horizontal_sum(low))
                store_f32(sums + k // 4 + 4, d * horizontal_sum(high))
            else:
                store_f32(sums + k // 8, d * (horizontal_sum(low) + horizontal_sum(high)))
        for k in range(0, padded, 64):
            fours = dot(zero_i32x16(), splat_u8x64(1), load_codes(out + k))
            store_i32x16(out + padded + k, fours * (-offset))


@kernel("MUL_MAT:f32")
def widen_columns(rec: Any, ith: Any, nth: Any) -> None:
    """Rows of src1, F16, to f32."""
    n, rows = ne(rec, VALUES, 0), n_values(rec)
    while True:
        row = take(rec, 1)
        if row >= rows:
            break
        x, out = row_address(rec, row), packed(rec) + row * arg(rec, 1)
        for k in range(n):
            store_f32(out + 4 * k, load_f16(x + 2 * k))
