"""MUL_MAT of many columns in f32: a tile of weight rows is dequantized, then multiplied by four columns at a time.

The tile lies in scratch memory of the thread and stays in its second level cache; F32 weights are used where they are.
Sums run over K in 16 lanes (8 on AVX2) whatever the number of columns, so a column does not depend on its
neighbours. Arguments of a record: as in mul_mat_dot.py; scratch: per thread 1024 bytes and then the tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import float32, int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from ggmlrpc_cpu import record as R
from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.isa import isa
from ggmlrpc_cpu.kernels.access import arg, nb, ne, slot, stopped, take
from ggmlrpc_cpu.kernels.dequantize import TYPES, row_to_f32
from ggmlrpc_cpu.kernels.mul_mat_columns import PLAIN, ROUTED, WEIGHTS, Columns, packed, row_address
from ggmlrpc_cpu.simd import load_f32, load_i64, store_f32, store_i64
from ggmlrpc_cpu.simd.memory import pointer

SUMS, COLUMNS = 0, 512
"""Offsets in scratch: the 16 sums of a block; the addresses of its columns and of their results."""
HEAD = 1024


def _block_shape() -> tuple[int, int, int]:
    """(rows, columns, lanes) of the sums that fit the registers."""
    return (
        (4, 4, 16)
        if isa() == "avx512vnni"
        else (4, 2, 8)
        if isa() in ("avx2", "avxvnni")
        else (4, 4, 4)
    )


@intrinsic
def block(typingctx: Any, rows: Any, nb1: Any, columns: Any, n: Any, sums: Any) -> Any:
    """Products of 4 rows and 4 columns of n f32, n a multiple of 16.

    Args:
        rows, nb1: address of the first row, bytes to the next.
        columns: address of four int64, the addresses of the columns.
        sums: address of 16 f32, sum of row r and column c at 4 * c + r.
    """

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        n_rows, n_columns, lanes = _block_shape()
        rows, nb1, columns, n, sums = a
        i64, i32, vec = ir.IntType(64), ir.IntType(32), ir.VectorType(ir.FloatType(), lanes)
        fma = cgutils.get_or_insert_function(
            b.module, ir.FunctionType(vec, [vec] * 3), f"llvm.fma.v{lanes}f32"
        )
        w = [b.add(rows, b.mul(nb1, i64(r))) for r in range(4)]
        total = b.mul(n, i64(4))
        for first in range(0, 4, n_columns):
            x = [
                b.load(pointer(b, b.add(columns, i64(8 * (first + j))), i64))
                for j in range(n_columns)
            ]
            entry = b.block
            loop, done = b.append_basic_block("block.loop"), b.append_basic_block("block.done")
            b.cbranch(b.icmp_signed(">", total, i64(0)), loop, done)
            b.position_at_end(loop)
            at = b.phi(i64)
            acc = [b.phi(vec) for _ in range(n_rows * n_columns)]
            y = [b.load(pointer(b, b.add(p, at), vec), align=4) for p in x]
            new = []
            for r in range(n_rows):
                v = b.load(pointer(b, b.add(w[r], at), vec), align=4)
                new += [b.call(fma, [v, y[j], acc[r * n_columns + j]]) for j in range(n_columns)]
            step = b.add(at, i64(4 * lanes))
            b.cbranch(b.icmp_signed("<", step, total), loop, done)
            at.add_incoming(i64(0), entry)
            at.add_incoming(step, loop)
            zero = ir.Constant(vec, [0.0] * lanes)
            for phi, value in zip(acc, new):
                phi.add_incoming(zero, entry)
                phi.add_incoming(value, loop)
            b.position_at_end(done)
            for i, value in enumerate(new):
                v = b.phi(vec)
                v.add_incoming(zero, entry)
                v.add_incoming(value, loop)
                r, j = divmod(i, n_columns)
                new[i] = (v, sums, 16 * (first + j) + 4 * r)
            for v, base, offset in new:
                while v.type.count > 1:
                    half = v.type.count // 2
                    low, high = (
                        b.shuffle_vector(
                            v, v, ir.Constant(ir.VectorType(i32, half), list(range(k, k + half)))
                        )
                        for k in (0, half)
                    )
                    v = b.fadd(low, high)
                b.store(
                    b.extract_element(v, i32(0)),
                    pointer(b, b.add(base, i64(offset)), ir.FloatType()),
                    align=4,
                )
        return c.get_dummy_value()

    return types.none(*[types.int64] * 5), codegen


@inline
def finish(sums: Any, w: Any, nb1: Any, columns: Any, whole: Any, n: Any) -> None:
    """Add the products of elements `whole` to n - 1."""
    for c in range(4):
        x = load_i64(columns + 8 * c)
        for r in range(4):
            total = float32(0)
            for k in range(whole, n):
                total += load_f32(w + r * nb1 + 4 * k) * load_f32(x + 4 * k)
            at = sums + 16 * c + 4 * r
            store_f32(at, load_f32(at) + total)


def register(type_name: str, columns: Columns) -> None:
    """Make the kernel of a type for MUL_MAT or MUL_MAT_ID."""
    n_groups, weights, count = columns.n_groups, columns.weights, columns.count
    row_of, result_of = columns.row, columns.result

    @kernel(f"{columns.prefix}:tile:{type_name}")
    def multiply(rec: Any, ith: Any, nth: Any) -> None:
        n, m, nb1 = ne(rec, WEIGHTS, 0), ne(rec, WEIGHTS, 1), nb(rec, WEIGHTS, 1)
        per, direct = arg(rec, 2), arg(rec, 3)
        scratch = slot(rec, R.SCRATCH) + ith * (slot(rec, R.SCRATCH_SIZE) // nth)
        sums, places, tile = scratch + SUMS, scratch + COLUMNS, scratch + HEAD
        whole, stride = n - n % 16, 4 * ((n + 15) // 16 * 16)
        chunks = (m + per - 1) // per
        items = n_groups(rec) * chunks
        while True:
            item = take(rec, 1)
            if item >= items:
                break
            g, first = item // chunks, item % chunks * per
            size = min(per, m - first)
            w, n_columns = weights(rec, g), count(rec, g)
            for r in range((size + 3) // 4 * 4):
                to_f32(w + min(first + r, m - 1) * nb1, tile + r * stride, n)
            for c in range(0, n_columns, 4):
                if stopped(rec):
                    break
                for j in range(4):
                    column = min(c + j, n_columns - 1)
                    row = row_of(rec, g, column)
                    x = row_address(rec, row) if direct != 0 else packed(rec) + row * arg(rec, 1)
                    store_i64(places + 8 * j, x)
                    store_i64(places + 32 + 8 * j, result_of(rec, g, column))
                for r in range(0, size, 4):
                    block(tile + r * stride, stride, places, whole, sums)
                    if whole < n:
                        finish(sums, tile + r * stride, stride, places, whole, n)
                    for j in range(min(int64(4), n_columns - c)):
                        out = load_i64(places + 32 + 8 * j) + 4 * (first + r)
                        for i in range(min(int64(4), size - r)):
                            store_f32(out + 4 * i, load_f32(sums + 16 * j + 4 * i))

    to_f32 = row_to_f32(type_name)


for _name in TYPES:
    register(_name, PLAIN)
    register(_name, ROUTED)
