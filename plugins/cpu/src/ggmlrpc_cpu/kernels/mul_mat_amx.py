"""MUL_MAT of many columns on AMX: weights as bf16 tiles of 16 rows x 32 elements, 32 x 32 results at a time.

Columns are packed first (`pack`): 16 columns to a tile column, of which each kilobyte holds 32 elements as 16 rows
of 16 pairs, the layout of the second operand of tdpbf16ps. Products are exact, sums f32. Two bf16 carry a 16-bit
significand: F16 weights and their columns come as two parts each, and three products are added.

Arguments, besides 0 of mul_mat_columns.py: 1: bytes of a packed tile of columns; 2: parts. Scratch per thread:
offsets below, the bf16 tile of 32 weight rows last.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from ggmlrpc_cpu import record as R
from ggmlrpc_cpu.amx import tile_config
from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import arg, nb, ne, slot, stopped, take
from ggmlrpc_cpu.kernels.blocks.format import PAIRS, SUPER
from ggmlrpc_cpu.kernels.blocks.vectors import prefetch_far
from ggmlrpc_cpu.kernels.dequantize import GRID, row_to, row_to_f32
from ggmlrpc_cpu.kernels.mul_mat_columns import (
    PLAIN,
    ROUTED,
    VALUES,
    WEIGHTS,
    Columns,
    packed,
    row_address,
)
from ggmlrpc_cpu.simd import (
    bf16_to_f32x16,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_u8x64,
    store_f32,
    store_f32x16,
    store_u8x64,
    store_u16x16,
    to_f32x16,
    zero_bytes,
)
from ggmlrpc_cpu.simd.memory import pointer
from ggmlrpc_cpu.simd.types import F32x16, U16x16

CONFIG, RESULT, TURNED, ROW = 0, 1024, 5120, 6144
"""Offsets in scratch: tile configuration, four tiles of results, one of them transposed, a row in f32."""

MOST_AHEAD = 128 << 10
"""Bytes of weights to prefetch at most: they share the second level cache with the tiles."""

I8, I64, VOID = ir.IntType(8), ir.IntType(64), ir.VoidType()


def _call(b: ir.IRBuilder, name: str, args: list[ir.Value]) -> None:
    kind = ir.FunctionType(VOID, [a.type for a in args])
    b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


def _tile(i: int) -> ir.Constant:
    return ir.Constant(I8, i)


@intrinsic
def configure(typingctx: Any, scratch: Any) -> Any:
    """Set the shape of the tiles of this thread; 64 bytes of scratch are used."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        data = tile_config()
        kind = ir.ArrayType(I8, len(data))
        b.store(ir.Constant(kind, bytearray(data)), pointer(b, a[0], kind), align=1)
        _call(b, "llvm.x86.ldtilecfg", [pointer(b, a[0], I8)])
        return c.get_dummy_value()

    return types.none(types.int64), codegen


@intrinsic
def release(typingctx: Any) -> Any:
    """Give the tile state of this thread back."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        _call(b, "llvm.x86.tilerelease", [])
        return c.get_dummy_value()

    return types.none(), codegen


@intrinsic
def clear(typingctx: Any) -> Any:
    """Set the four accumulators to zero."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        for i in range(4):
            _call(b, "llvm.x86.tilezero", [_tile(i)])
        return c.get_dummy_value()

    return types.none(), codegen


@intrinsic
def store_results(typingctx: Any, out: Any) -> Any:
    """Store the four accumulators, 1024 bytes each."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        for i in range(4):
            place = pointer(b, b.add(a[0], I64(1024 * i)), I8)
            _call(b, "llvm.x86.tilestored64", [_tile(i), place, I64(64)])
        return c.get_dummy_value()

    return types.none(types.int64), codegen


def _accumulate(n_column_tiles: int) -> Any:
    """An intrinsic: add the products of two row tiles and one or two column tiles, `steps` kilobytes of each."""

    @intrinsic
    def accumulate(typingctx: Any, w0: Any, w1: Any, x0: Any, x1: Any, steps: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            entry = b.block
            loop, done = b.append_basic_block("tiles.loop"), b.append_basic_block("tiles.done")
            b.branch(loop)
            b.position_at_end(loop)
            at = b.phi(I64)
            for tile, base in zip((4, 5, 6, 7), a[: 2 + n_column_tiles]):
                _call(
                    b,
                    "llvm.x86.tileloadd64",
                    [_tile(tile), pointer(b, b.add(base, at), I8), I64(64)],
                )
            for h in range(2):
                for j in range(n_column_tiles):
                    _call(b, "llvm.x86.tdpbf16ps", [_tile(2 * h + j), _tile(4 + h), _tile(6 + j)])
            after = b.add(at, I64(1024))
            b.cbranch(b.icmp_signed("<", after, b.mul(a[4], I64(1024))), loop, done)
            at.add_incoming(I64(0), entry)
            at.add_incoming(after, loop)
            b.position_at_end(done)
            return c.get_dummy_value()

        return types.none(*[types.int64] * 5), codegen

    return accumulate


accumulate_one, accumulate_two = _accumulate(1), _accumulate(2)


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


@intrinsic
def round_to_bf16(typingctx: Any, x: Any) -> Any:
    """F32x16 -> U16x16 of bf16, nearest even, numbers below the normal range to zero. AVX512-BF16."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        narrow = ir.VectorType(_BFloat(), 16)
        f = cgutils.get_or_insert_function(
            b.module, ir.FunctionType(narrow, [a[0].type]), "llvm.x86.avx512bf16.cvtneps2bf16.512"
        )
        return b.bitcast(b.call(f, a), U16x16.ir)

    return U16x16(F32x16), codegen


@intrinsic
def transpose(typingctx: Any, src: Any, dst: Any) -> Any:
    """A 16 x 16 matrix of 4-byte elements, rows of 64 bytes, turned."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        vec = ir.VectorType(ir.IntType(32), 16)
        v = [b.load(pointer(b, b.add(a[0], I64(64 * i)), vec), align=64) for i in range(16)]

        def interleave(x: ir.Value, y: ir.Value, first: int) -> ir.Value:
            lanes = [first + i // 2 + 16 * (i % 2) for i in range(16)]
            return b.shuffle_vector(x, y, ir.Constant(vec, lanes))

        for _ in range(
            4
        ):  # each turn moves the top bit of the row number to the bottom of the lane number
            v = [interleave(v[i // 2], v[i // 2 + 8], 8 * (i % 2)) for i in range(16)]
        for i in range(16):
            b.store(v[i], pointer(b, b.add(a[1], I64(64 * i)), vec), align=64)
        return c.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@inline
def store_tile_row(dst: Any, k: Any, values: Any) -> None:
    """Sixteen values of a weight row, rounded to bf16, from element k: every 32 elements lie in the next tile."""
    store_u16x16(dst + (k >> 5) * 1024 + (k & 31) * 2, round_to_bf16(values))


@inline
def store_split(dst: Any, k: Any, values: Any, second: Any) -> None:
    """The same in two parts: what bf16 holds, and what remains, `second` bytes after it."""
    high = round_to_bf16(values)
    at = dst + (k >> 5) * 1024 + (k & 31) * 2
    store_u16x16(at, high)
    store_u16x16(at + second, round_to_bf16(values - bf16_to_f32x16(high)))


def _tile_row(type_name: str) -> Any:
    """(src, dst, n, row, second): a weight row to its place in the tile; `row` is scratch for n f32."""
    if type_name == "BF16":

        @inline
        def copy(src: Any, dst: Any, n: Any, row: Any, second: Any) -> None:
            for k in range(0, n, 32):
                store_u8x64(dst + 32 * k, load_u8x64(src + 2 * k))

        return copy
    if type_name == "F16":

        @inline
        def split(src: Any, dst: Any, n: Any, row: Any, second: Any) -> None:
            for k in range(0, n, 16):
                store_split(dst, k, to_f32x16(load_f16x16(src + 2 * k)), second)

        return split
    if type_name in GRID:
        to_f32 = row_to_f32(type_name)

        @inline
        def by_row(src: Any, dst: Any, n: Any, row: Any, second: Any) -> None:
            to_f32(src, row, n)
            for k in range(0, n, 16):
                store_tile_row(dst, k, load_f32x16(row + 4 * k))

        return by_row
    to_tile = row_to(type_name, store_tile_row)

    @inline
    def direct(src: Any, dst: Any, n: Any, row: Any, second: Any) -> None:
        to_tile(src, dst, n)

    return direct


def register_pack(columns: Columns) -> None:
    """Make the packing kernel of MUL_MAT or MUL_MAT_ID."""
    n_tiles, tile_group, first_tile = columns.n_tiles, columns.tile_group, columns.first_tile
    count, row_of = columns.count, columns.row

    @kernel(f"{columns.prefix}:bf16")
    def pack(rec: Any, ith: Any, nth: Any) -> None:
        """Rows of src1, F32, n a multiple of 32, to packed tiles; columns that a tile lacks are zero."""
        n, stride, parts = ne(rec, VALUES, 0), arg(rec, 1), arg(rec, 2)
        rows = slot(rec, R.SCRATCH) + ith * (slot(rec, R.SCRATCH_SIZE) // nth)
        items = n_tiles(rec)
        while True:
            tile = take(rec, 1)
            if tile >= items:
                break
            g = tile_group(rec, tile)
            first = 16 * (tile - first_tile(rec, g))
            size = min(int64(16), count(rec, g) - first)
            out = packed(rec) + tile * stride
            zero_bytes(rows, 2048)
            for c in range(size):
                # Tile rows of one column; the next column of the same 32 elements is 64 bytes on.
                x = row_address(rec, row_of(rec, g, first + c))
                for k in range(0, n, 16):
                    values = load_f32x16(x + 4 * k)
                    if parts == 2:
                        store_split(out + 64 * c, k, values, 32 * n)
                    else:
                        store_tile_row(out + 64 * c, k, values)
            for at in range(0, parts * 32 * n, 1024):
                if size < 16:
                    zero_bytes(out + at + 64 * size, 64 * (16 - size))
                transpose(out + at, out + at)


def register(type_name: str, columns: Columns) -> None:
    """Make the kernel of a type for MUL_MAT or MUL_MAT_ID."""
    n_groups, weights, count = columns.n_groups, columns.weights, columns.count
    first_tile, result_of = columns.first_tile, columns.result
    parts = 2 if type_name == "F16" else 1

    @inline
    def put(rec: Any, g: Any, first: Any, size: Any, c: Any, n_columns: Any, turned: Any) -> None:
        """One transposed tile of results: `size` rows from `first`, 16 columns from c."""
        for j in range(min(int64(16), n_columns - c)):
            out = result_of(rec, g, c + j) + 4 * first
            if size >= 16:
                store_f32x16(out, load_f32x16(turned + 64 * j))
            else:
                for i in range(size):
                    store_f32(out + 4 * i, load_f32(turned + 64 * j + 4 * i))

    @kernel(f"{columns.prefix}:amx:{type_name}")
    def multiply(rec: Any, ith: Any, nth: Any) -> None:
        n, m, nb1 = ne(rec, WEIGHTS, 0), ne(rec, WEIGHTS, 1), nb(rec, WEIGHTS, 1)
        stride, steps = arg(rec, 1), n // 32
        scratch = slot(rec, R.SCRATCH) + ith * (slot(rec, R.SCRATCH_SIZE) // nth)
        result, turned, row = scratch + RESULT, scratch + TURNED, scratch + ROW
        tile = row + (4 * n + 63) // 64 * 64
        half, second = 32 * n, 64 * n  # bytes to the upper 16 rows, to the second part
        chunks = (m + 31) // 32
        items = n_groups(rec) * chunks
        configure(scratch + CONFIG)
        while True:
            item = take(rec, 1)
            if item >= items:
                break
            g, first = item // chunks, item % chunks * 32
            w, n_columns = weights(rec, g), count(rec, g)
            for r in range(32):
                place = tile + (r >> 4) * half + (r & 15) * 64
                to_tile(w + min(first + r, m - 1) * nb1, place, n, row, second)
            x = packed(rec) + first_tile(rec, g) * stride
            # While tiles are multiplied, fetch what this thread will probably dequantize next.
            coming = w + (first + 32 * nth) * nb1
            share = min(32 * nb1, MOST_AHEAD) // ((n_columns + 31) // 32)
            for c in range(0, n_columns, 32):
                if stopped(rec):
                    break
                for line in range(0, share, 64):
                    prefetch_far(coming + line)
                coming += share
                x0, both = x + c // 16 * stride, n_columns - c > 16
                clear()
                if both:
                    x1 = x0 + stride
                    accumulate_two(tile, tile + half, x0, x1, steps)
                    if parts == 2:
                        accumulate_two(tile + second, tile + second + half, x0, x1, steps)
                        accumulate_two(tile, tile + half, x0 + half, x1 + half, steps)
                else:
                    accumulate_one(tile, tile + half, x0, x0, steps)
                    if parts == 2:
                        accumulate_one(tile + second, tile + second + half, x0, x0, steps)
                        accumulate_one(tile, tile + half, x0 + half, x0, steps)
                store_results(result)
                for h in range(2):
                    size = min(int64(16), m - first - 16 * h)
                    for j in range(2 if both else 1):
                        if size > 0:
                            transpose(result + 2048 * h + 1024 * j, turned)
                            put(rec, g, first + 16 * h, size, c + 16 * j, n_columns, turned)
        release()

    to_tile = _tile_row(type_name)


for _columns in (PLAIN, ROUTED):
    register_pack(_columns)
    for _name in ("F16", "BF16", *PAIRS, *SUPER, *GRID):
        register(_name, _columns)
