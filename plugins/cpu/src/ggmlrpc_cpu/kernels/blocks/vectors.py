"""Vector steps that only the block formats need: 64 codes at once, byte lookups, integer dot products, sums of lanes.

Everything works on 64-byte vectors; LLVM splits them where registers are shorter. Only `dot_codes` and `lookup`
name instructions of an ISA, and each has a form in plain LLVM for the others. This module knows no format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ggmlrpc_cpu.isa import isa
from ggmlrpc_cpu.simd.memory import pointer
from ggmlrpc_cpu.simd.types import (
    F16,
    I8,
    I32,
    I64,
    F32x4,
    F32x8,
    F32x16,
    I8x64,
    I32x8,
    I32x16,
    U8x16,
    U8x64,
    Vec,
    splat_value,
)

I32x4 = Vec("i32", 4)


def _indices(values: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(values)), list(values))


def _call(b: ir.IRBuilder, name: str, result: ir.Type, args: Sequence[ir.Value]) -> ir.Value:
    kind = ir.FunctionType(result, [a.type for a in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


def _parts(b: ir.IRBuilder, value: ir.Value, n: int) -> list[ir.Value]:
    """A vector cut into n vectors of equal length."""
    size = value.type.count // n
    undefined = ir.Constant(value.type, ir.Undefined)
    return [
        b.shuffle_vector(value, undefined, _indices(range(i * size, (i + 1) * size)))
        for i in range(n)
    ]


def _join(b: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """The inverse of _parts; a power of two many."""
    while len(parts) > 1:
        size = 2 * parts[0].type.count
        parts = [
            b.shuffle_vector(x, y, _indices(range(size))) for x, y in zip(parts[::2], parts[1::2])
        ]
    return parts[0]


def make_shuffle(result: Vec, indices: Sequence[int]) -> Any:
    """An intrinsic: vector -> result, lane i taken from lane indices[i]."""

    @intrinsic
    def shuffle(typingctx: Any, x: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            return b.shuffle_vector(a[0], ir.Constant(a[0].type, ir.Undefined), _indices(indices))

        return result(x), codegen

    return shuffle


def make_shift(counts: Sequence[int]) -> Any:
    """An intrinsic: shift the eight 64-bit lanes of a U8x64 right (left when negative), each by its own count.

    Bits cross from byte to byte, so the caller masks afterwards.
    """

    @intrinsic
    def shift(typingctx: Any, x: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            wide = ir.VectorType(I64, 8)
            v = b.bitcast(a[0], wide)
            if any(n > 0 for n in counts):
                v = b.lshr(v, ir.Constant(wide, [max(n, 0) for n in counts]))
            if any(n < 0 for n in counts):
                v = b.shl(v, ir.Constant(wide, [max(-n, 0) for n in counts]))
            return b.bitcast(v, U8x64.ir)

        return U8x64(U8x64), codegen

    return shift


def make_constant(vec: Vec, values: Sequence[float]) -> Any:
    """An intrinsic: () -> a constant vector."""

    @intrinsic
    def value(typingctx: Any) -> Any:
        return vec(), lambda c, b, s, a: ir.Constant(vec.ir, list(values))

    return value


@intrinsic
def load_twice_32(typingctx: Any, address: Any) -> Any:
    """32 bytes in both halves of a U8x64."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        x = b.load(pointer(b, a[0], ir.VectorType(I8, 32)), align=1)
        return b.shuffle_vector(x, x, _indices(range(64)))

    return U8x64(types.int64), codegen


@intrinsic
def load_twice_16(typingctx: Any, first: Any, second: Any) -> Any:
    """16 bytes of one address twice, then 16 bytes of another twice."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        x, y = (b.load(pointer(b, p, U8x16.ir), align=1) for p in a)
        return b.shuffle_vector(
            x, y, _indices([*range(16), *range(16), *range(16, 32), *range(16, 32)])
        )

    return U8x64(types.int64, types.int64), codegen


@intrinsic
def load_two_32(typingctx: Any, first: Any, second: Any) -> Any:
    """32 bytes of one address, then 32 bytes of another."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        x, y = (b.load(pointer(b, p, ir.VectorType(I8, 32)), align=1) for p in a)
        return b.shuffle_vector(x, y, _indices(range(64)))

    return U8x64(types.int64, types.int64), codegen


@intrinsic
def spread_bits(typingctx: Any, first: Any, second: Any) -> Any:
    """1 in byte i where bit i of `first` (bytes 0 to 31) or of `second` (bytes 32 to 63) is set, else 0."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        low, high = (b.zext(b.trunc(x, I32), I64) for x in a)
        bits = b.or_(low, b.shl(high, ir.Constant(I64, 32)))
        return b.zext(b.bitcast(bits, ir.VectorType(ir.IntType(1), 64)), U8x64.ir)

    return U8x64(types.int64, types.int64), codegen


@intrinsic
def bytes_to_f32x8(typingctx: Any, word: Any) -> Any:
    """The eight unsigned bytes of an int64 as F32x8."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        return b.uitofp(b.zext(b.bitcast(a[0], ir.VectorType(I8, 8)), I32x8.ir), F32x8.ir)

    return F32x8(types.int64), codegen


@intrinsic
def prefetch_far(typingctx: Any, address: Any) -> Any:
    """Ask for a cache line into the second level cache, whose queue of misses is the longer one. Never faults."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        args = [pointer(b, a[0], I8), *(ir.Constant(I32, v) for v in (0, 2, 1))]
        _call(b, "llvm.prefetch.p0i8", ir.VoidType(), args)
        return c.get_dummy_value()

    return types.none(types.int64), codegen


def _gather_8(element: ir.Type, finish: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Any:
    @intrinsic
    def gather(typingctx: Any, p0: Any, p1: Any, p2: Any, p3: Any, step: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            v = ir.Constant(ir.VectorType(element, 8), ir.Undefined)
            for i in range(8):
                address = b.add(a[i // 2], a[4]) if i % 2 else a[i // 2]
                x = b.load(pointer(b, address, element), align=1)
                v = b.insert_element(v, x, ir.Constant(I32, i))
            return finish(b, v)

        return F32x8(*[types.int64] * 5), codegen

    return gather


gather_f16 = _gather_8(F16, lambda b, v: b.fpext(v, F32x8.ir))
"""(p0, p1, p2, p3, step) -> F32x8 of the f16 at p0, p0 + step, p1, p1 + step, ..."""


def _e8m0_half(b: ir.IRBuilder, v: ir.Value) -> ir.Value:
    """Half of 2 ** (e - 127), element by element; exact also where it is subnormal."""
    e = b.zext(v, I32x8.ir)
    small = b.shl(
        ir.Constant(I32x8.ir, [0x00200000] * 8), b.and_(e, ir.Constant(I32x8.ir, [1] * 8))
    )
    large = b.shl(b.sub(e, ir.Constant(I32x8.ir, [1] * 8)), ir.Constant(I32x8.ir, [23] * 8))
    return b.bitcast(
        b.select(b.icmp_unsigned("<", e, ir.Constant(I32x8.ir, [2] * 8)), small, large), F32x8.ir
    )


gather_e8m0_half = _gather_8(I8, _e8m0_half)
"""As gather_f16, of E8M0 bytes: half of their power of two."""


@intrinsic
def splat_pair(typingctx: Any, address: Any) -> Any:
    """Two neighbouring f32 repeated to F32x8: x y x y x y x y."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        return b.bitcast(
            splat_value(b, Vec("i64", 4), b.load(pointer(b, a[0], I64), align=1)), F32x8.ir
        )

    return F32x8(types.int64), codegen


def _fma(vec: Vec) -> Any:
    @intrinsic
    def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            return _call(b, f"llvm.fma.v{vec.n}f32", vec.ir, a)

        return vec(vec, vec, vec), codegen

    return fma


fma16, fma8 = _fma(F32x16), _fma(F32x8)
"""x * y + z, rounded once."""


@intrinsic
def lane(typingctx: Any, x: Any, i: Any) -> Any:
    """One element of an f32 vector."""
    return types.float32(x, types.int64), lambda c, b, s, a: b.extract_element(
        a[0], b.trunc(a[1], I32)
    )


@intrinsic
def sum_lanes(typingctx: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    """Four F32x16 -> F32x4 of their sums; halves are added to halves, in the same order on every ISA."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        quads = []
        for x in a:
            low, high = _parts(b, x, 2)
            low, high = _parts(b, b.fadd(low, high), 2)
            quads.append(b.fadd(low, high))

        def pairs(x: ir.Value, y: ir.Value) -> ir.Value:
            even = b.shuffle_vector(x, y, _indices([0, 2, 4, 6]))
            return b.fadd(even, b.shuffle_vector(x, y, _indices([1, 3, 5, 7])))

        return pairs(pairs(quads[0], quads[1]), pairs(quads[2], quads[3]))

    return F32x4(*[F32x16] * 4), codegen


def make_lookup(table: Sequence[int]) -> Any:
    """An intrinsic: U8x64 of indices 0 to 15 -> U8x64 of table[index]; table holds 16 unsigned bytes."""

    @intrinsic
    def lookup(typingctx: Any, x: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            name = isa()
            if name == "avx512vnni":
                return _call(
                    b,
                    "llvm.x86.avx512.pshuf.b.512",
                    U8x64.ir,
                    [ir.Constant(U8x64.ir, list(table) * 4), a[0]],
                )
            if name in ("avxvnni", "avx2"):
                half = ir.Constant(ir.VectorType(I8, 32), list(table) * 2)
                parts = _parts(b, a[0], 2)
                return _join(
                    b, [_call(b, "llvm.x86.avx2.pshuf.b", half.type, [half, p]) for p in parts]
                )
            if name == "neon":
                quarter = ir.Constant(U8x16.ir, list(table))
                parts = _parts(b, a[0], 4)
                call = "llvm.aarch64.neon.tbl1.v16i8"
                return _join(b, [_call(b, call, quarter.type, [quarter, p]) for p in parts])
            found = ir.Constant(U8x64.ir, [table[0]] * 64)
            for i in range(1, 16):
                hit = b.icmp_unsigned("==", a[0], ir.Constant(U8x64.ir, [i] * 64))
                found = b.select(hit, ir.Constant(U8x64.ir, [table[i]] * 64), found)
            return found

        return U8x64(U8x64), codegen

    return lookup


def _dot_by_words(b: ir.IRBuilder, start: ir.Value, codes: ir.Value, values: ir.Value) -> ir.Value:
    """Even and odd bytes as 16-bit lanes, whose products are added in pairs: exact for all bytes."""
    words, dwords = ir.VectorType(ir.IntType(16), 32), ir.VectorType(I32, 32)
    eight = ir.Constant(words, [8] * 32)
    u, s = b.bitcast(codes, words), b.bitcast(values, words)
    for x, y in (
        (b.and_(u, ir.Constant(words, [255] * 32)), b.ashr(b.shl(s, eight), eight)),
        (b.lshr(u, eight), b.ashr(s, eight)),
    ):
        product = b.mul(b.sext(x, dwords), b.sext(y, dwords))
        undefined = ir.Constant(dwords, ir.Undefined)
        even = b.shuffle_vector(product, undefined, _indices(range(0, 32, 2)))
        odd = b.shuffle_vector(product, undefined, _indices(range(1, 32, 2)))
        start = b.add(start, b.add(even, odd))
    return start


def make_dot(wide: bool) -> Any:
    """An intrinsic: (I32x16 start, U8x64 codes, I8x64 values) -> start plus sums of four neighbouring products.

    Args:
        wide: codes may be above 127, which the pair sums of plain AVX2 and signed NEON products cannot hold.
    """

    @intrinsic
    def dot(typingctx: Any, start: Any, codes: Any, values: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            name = isa()
            if name == "avx512vnni":
                args = [a[0], *(b.bitcast(x, I32x16.ir) for x in a[1:])]
                return _call(b, "llvm.x86.avx512.vpdpbusd.512", I32x16.ir, args)
            if name == "generic" or (wide and name in ("avx2", "neon")):
                return _dot_by_words(b, *a)
            if name == "neon":
                trios = zip(*(_parts(b, x, 4) for x in a))
                return _join(
                    b, [_call(b, "llvm.aarch64.neon.sdot.v4i32.v16i8", I32x4.ir, t) for t in trios]
                )
            out = []
            for start_part, u, v in zip(*(_parts(b, x, 2) for x in a)):
                if name == "avxvnni":
                    args = [start_part, b.bitcast(u, I32x8.ir), b.bitcast(v, I32x8.ir)]
                    out.append(_call(b, "llvm.x86.avx512.vpdpbusd.256", I32x8.ir, args))
                else:
                    words = ir.VectorType(ir.IntType(16), 16)
                    pairs = _call(b, "llvm.x86.avx2.pmadd.ub.sw", words, [u, v])
                    ones = ir.Constant(words, [1] * 16)
                    out.append(
                        b.add(
                            start_part, _call(b, "llvm.x86.avx2.pmadd.wd", I32x8.ir, [pairs, ones])
                        )
                    )
            return _join(b, out)

        return I32x16(I32x16, U8x64, I8x64), codegen

    return dot


def make_quarter(i: int) -> Any:
    """An intrinsic: bytes 16 * i to 16 * i + 15 of a U8x64 as F32x16."""

    @intrinsic
    def quarter(typingctx: Any, x: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            part = _parts(b, a[0], 4)[i]
            return b.sitofp(b.zext(part, I32x16.ir), F32x16.ir)

        return F32x16(U8x64), codegen

    return quarter


quarters = tuple(make_quarter(i) for i in range(4))
