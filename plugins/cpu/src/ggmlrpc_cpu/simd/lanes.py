"""Rearranging, selecting and reducing lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ggmlrpc_cpu.simd.types import ELEMENTS, F64, I32, SCALARS, F32x16, I32x16, Vec


def shuffle_value(
    builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: Sequence[int]
) -> ir.Value:
    """Pick lanes of two LLVM vectors of one type."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def make_shuffle(lanes: Sequence[int]) -> Any:
    """An intrinsic: (x, y) of one type -> the lanes; lane n + i is y's lane i."""

    @intrinsic
    def shuffle(typingctx: Any, x: Any, y: Any) -> Any:
        return Vec(x.elem, len(lanes))(x, y), lambda c, b, s, a: shuffle_value(b, a[0], a[1], lanes)

    return shuffle


@intrinsic
def concat(typingctx: Any, x: Any, y: Any) -> Any:
    """The lanes of x, then those of y."""
    return Vec(x.elem, 2 * x.n)(x, y), lambda c, b, s, a: shuffle_value(
        b, a[0], a[1], range(2 * x.n)
    )


@intrinsic
def low_half(typingctx: Any, x: Any) -> Any:
    """The first half of the lanes."""
    return Vec(x.elem, x.n // 2)(x), lambda c, b, s, a: shuffle_value(
        b, a[0], a[0], range(x.n // 2)
    )


@intrinsic
def high_half(typingctx: Any, x: Any) -> Any:
    """The second half of the lanes."""
    return Vec(x.elem, x.n // 2)(x), lambda c, b, s, a: shuffle_value(
        b, a[0], a[0], range(x.n // 2, x.n)
    )


@intrinsic
def even_lanes(typingctx: Any, x: Any, y: Any) -> Any:
    """Lanes 0, 2, 4.. of x, then of y."""
    return x(x, y), lambda c, b, s, a: shuffle_value(b, a[0], a[1], range(0, 2 * x.n, 2))


@intrinsic
def odd_lanes(typingctx: Any, x: Any, y: Any) -> Any:
    """Lanes 1, 3, 5.. of x, then of y."""
    return x(x, y), lambda c, b, s, a: shuffle_value(b, a[0], a[1], range(1, 2 * x.n, 2))


@intrinsic
def interleave_low(typingctx: Any, x: Any, y: Any) -> Any:
    """x0 y0 x1 y1 .. of the first halves."""
    lanes = [i // 2 + (i % 2) * x.n for i in range(x.n)]
    return x(x, y), lambda c, b, s, a: shuffle_value(b, a[0], a[1], lanes)


@intrinsic
def interleave_high(typingctx: Any, x: Any, y: Any) -> Any:
    """x y pairs of the second halves."""
    lanes = [x.n // 2 + i // 2 + (i % 2) * x.n for i in range(x.n)]
    return x(x, y), lambda c, b, s, a: shuffle_value(b, a[0], a[1], lanes)


@intrinsic
def extract(typingctx: Any, x: Any, lane: Any) -> Any:
    """One lane as a scalar."""
    return SCALARS[x.elem](x, types.int64), lambda c, b, s, a: b.extract_element(a[0], a[1])


@intrinsic
def insert(typingctx: Any, x: Any, value: Any, lane: Any) -> Any:
    """x with one lane replaced."""
    return x(x, SCALARS[x.elem], types.int64), lambda c, b, s, a: b.insert_element(a[0], a[1], a[2])


@intrinsic
def table16(typingctx: Any, table: Any, index: Any) -> Any:
    """Bytes table[index & 15] of a table of 16 bytes, for 16, 32 or 64 indices in 0..15."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        from ggmlrpc_cpu.isa import isa

        n, byte = index.n, ELEMENTS["i8"]
        if isa() == "neon":
            f = _function(b, "llvm.aarch64.neon.tbl1.v16i8", [table.ir, table.ir], table.ir)
            parts = [
                b.call(f, [a[0], shuffle_value(b, a[1], a[1], range(i, i + 16))])
                for i in range(0, n, 16)
            ]
            return _join(b, parts)
        if isa() == "generic":
            out = ir.Constant(table.ir if n == 16 else ir.VectorType(byte, n), ir.Undefined)
            for i in range(n):
                value = b.extract_element(a[0], b.extract_element(a[1], ir.Constant(I32, i)))
                out = b.insert_element(out, value, ir.Constant(I32, i))
            return out
        repeated = shuffle_value(b, a[0], a[0], [i % 16 for i in range(n)])
        if n == 64 and isa() != "avx512vnni":
            wide = ir.VectorType(byte, 32)
            f = _function(b, "llvm.x86.avx2.pshuf.b", [wide, wide], wide)
            half = shuffle_value(b, repeated, repeated, range(32))
            return _join(
                b,
                [
                    b.call(f, [half, shuffle_value(b, a[1], a[1], range(i, i + 32))])
                    for i in (0, 32)
                ],
            )
        name = {
            16: "llvm.x86.ssse3.pshuf.b.128",
            32: "llvm.x86.avx2.pshuf.b",
            64: "llvm.x86.avx512.pshuf.b.512",
        }[n]
        wide = ir.VectorType(byte, n)
        return b.call(_function(b, name, [wide, wide], wide), [repeated, a[1]])

    return Vec(table.elem, index.n)(table, index), codegen


def _function(
    builder: ir.IRBuilder, name: str, args: list[ir.Type], result: ir.Type
) -> ir.Function:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, args), name)


def _join(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    while len(parts) > 1:
        parts = [
            shuffle_value(builder, x, y, range(2 * x.type.count))
            for x, y in zip(parts[::2], parts[1::2])
        ]
    return parts[0]


@intrinsic
def select_less(typingctx: Any, x: Any, y: Any, yes: Any, no: Any) -> Any:
    """Per lane: `yes` where x < y, else `no` (also where either is NaN)."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        less = (
            b.fcmp_ordered("<", a[0], a[1]) if x.is_float
            else b.icmp_signed("<", a[0], a[1]) if x.signed else b.icmp_unsigned("<", a[0], a[1])
        )  # fmt: skip
        return b.select(less, a[2], a[3])

    return yes(x, y, yes, no), codegen


@intrinsic
def select_nan(typingctx: Any, x: Any, yes: Any, no: Any) -> Any:
    """Per lane: `yes` where x is NaN, else `no`."""
    return yes(x, yes, no), lambda c, b, s, a: b.select(
        b.fcmp_unordered("uno", a[0], a[0]), a[1], a[2]
    )


@intrinsic
def select_equal(typingctx: Any, x: Any, y: Any, yes: Any, no: Any) -> Any:
    """Per lane: `yes` where integers x == y, else `no`."""
    return yes(x, y, yes, no), lambda c, b, s, a: b.select(
        b.icmp_signed("==", a[0], a[1]), a[2], a[3]
    )


@intrinsic
def horizontal_sum(typingctx: Any, x: Any) -> Any:
    """Sum of all lanes in a fixed tree order: halves are added until one lane is left."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        value, n = a[0], x.n
        while n > 1:
            n //= 2
            low = shuffle_value(b, value, value, range(n))
            high = shuffle_value(b, value, value, range(n, 2 * n))
            value = (b.fadd if x.is_float else b.add)(low, high)
        return b.extract_element(value, ir.Constant(I32, 0))

    return SCALARS[x.elem](x), codegen


@intrinsic
def horizontal_max(typingctx: Any, x: Any) -> Any:
    """Largest lane; lanes that are NaN lose against others."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        value, n = a[0], x.n
        while n > 1:
            n //= 2
            low = shuffle_value(b, value, value, range(n))
            high = shuffle_value(b, value, value, range(n, 2 * n))
            more = b.fcmp_ordered(">", low, high) if x.is_float else b.icmp_signed(">", low, high)
            value = b.select(more, low, high)
        return b.extract_element(value, ir.Constant(I32, 0))

    return SCALARS[x.elem](x), codegen


@intrinsic
def widened_sum(typingctx: Any, x: Any) -> Any:
    """Sum of all lanes of an f32 vector in f64."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        value, n = b.fpext(a[0], ir.VectorType(F64, x.n)), x.n
        while n > 1:
            n //= 2
            value = b.fadd(
                shuffle_value(b, value, value, range(n)),
                shuffle_value(b, value, value, range(n, 2 * n)),
            )
        return b.extract_element(value, ir.Constant(I32, 0))

    return types.float64(x), codegen


@intrinsic
def lane_numbers(typingctx: Any) -> Any:
    """0 to 15 as i32."""
    return I32x16(), lambda c, b, s, a: ir.Constant(I32x16.ir, list(range(16)))


@intrinsic
def sums_of_16(typingctx: Any, vectors: Any) -> Any:
    """The sums of 16 vectors (a tuple) of 16 f32: lane i is the sum of vector i. Fixed order of additions."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        parts = [b.extract_value(a[0], i) for i in range(16)]
        # Inside groups of four lanes first: two steps leave four vectors' sums in each group.
        singles = [g + i for g in range(0, 16, 4) for i in (0, 16, 1, 17)]
        doubles = [g + i for g in range(0, 16, 4) for i in (0, 1, 16, 17)]
        for lanes in (singles, doubles):
            rests = [lane + 2 for lane in lanes]
            parts = [
                b.fadd(shuffle_value(b, x, y, lanes), shuffle_value(b, x, y, rests))
                for x, y in zip(parts[::2], parts[1::2])
            ]
        # Then whole groups: even ones and odd ones of two vectors are added.
        even = [g + i for g in (0, 8, 16, 24) for i in range(4)]
        odd = [lane + 4 for lane in even]
        for _ in range(2):
            parts = [
                b.fadd(shuffle_value(b, x, y, even), shuffle_value(b, x, y, odd))
                for x, y in zip(parts[::2], parts[1::2])
            ]
        return parts[0]

    return F32x16(vectors), codegen
