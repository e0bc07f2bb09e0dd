"""Loads, stores, atomics and calls on raw addresses (int64). No alignment is assumed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ggmlrpc_cpu.isa import isa
from ggmlrpc_cpu.simd.types import (
    F16,
    F32,
    I16,
    I32,
    I64,
    F16x16,
    F32x4,
    F32x8,
    F32x16,
    F64x8,
    I8x16,
    I8x32,
    I8x64,
    I16x16,
    I32x4,
    I32x8,
    I32x16,
    U8x16,
    U8x32,
    U8x64,
    U16x16,
    Vec,
    splat_value,
)


def pointer(builder: ir.IRBuilder, address: ir.Value, element: ir.Type) -> ir.Value:
    """An LLVM pointer from an int64."""
    return builder.inttoptr(address, element.as_pointer())


def _llvm_type(kind: Any) -> ir.Type:
    if isinstance(kind, Vec):
        return kind.ir
    return (
        F32
        if kind == types.float32
        else ir.DoubleType()
        if kind == types.float64
        else ir.IntType(kind.bitwidth)
    )


def make_load(kind: Any) -> Any:
    """An intrinsic: address -> value of a Vec or Numba number type."""

    @intrinsic
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            return b.load(pointer(b, a[0], _llvm_type(kind)), align=1)

        return kind(types.int64), codegen

    return load


def make_store(kind: Any) -> Any:
    """An intrinsic: (address, value of that type) -> None."""

    @intrinsic
    def store(typingctx: Any, address: Any, value: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            b.store(a[1], pointer(b, a[0], _llvm_type(kind)), align=1)
            return c.get_dummy_value()

        return types.none(types.int64, kind), codegen

    return store


def make_load_splat(vec: Vec, group: ir.Type) -> Any:
    """An intrinsic: address -> vec that repeats the group of bytes found there."""
    n = vec.n * vec.bits // group.width

    @intrinsic
    def load_splat(typingctx: Any, address: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            one = b.load(pointer(b, a[0], group), align=1)
            wide = Vec(f"i{group.width}", n)
            return b.bitcast(splat_value(b, wide, one), vec.ir)

        return vec(types.int64), codegen

    return load_splat


load_i8, load_u8, load_i16, load_u16 = (
    make_load(t) for t in (types.int8, types.uint8, types.int16, types.uint16)
)
load_i32, load_u32, load_i64 = (make_load(t) for t in (types.int32, types.uint32, types.int64))
load_f32, load_f64 = make_load(types.float32), make_load(types.float64)
store_i8, store_u8, store_i16, store_u16 = (
    make_store(t) for t in (types.int8, types.uint8, types.int16, types.uint16)
)
store_i32, store_u32, store_i64 = (make_store(t) for t in (types.int32, types.uint32, types.int64))
store_f32, store_f64 = make_store(types.float32), make_store(types.float64)
load_f32x4, load_f32x8, load_f32x16 = make_load(F32x4), make_load(F32x8), make_load(F32x16)
store_f32x4, store_f32x8, store_f32x16 = make_store(F32x4), make_store(F32x8), make_store(F32x16)
load_f64x8, store_f64x8 = make_load(F64x8), make_store(F64x8)
load_i32x4, load_i32x8, load_i32x16 = make_load(I32x4), make_load(I32x8), make_load(I32x16)
store_i32x4, store_i32x8, store_i32x16 = make_store(I32x4), make_store(I32x8), make_store(I32x16)
load_i8x16, load_i8x32, load_i8x64 = make_load(I8x16), make_load(I8x32), make_load(I8x64)
load_u8x16, load_u8x32, load_u8x64 = make_load(U8x16), make_load(U8x32), make_load(U8x64)
store_i8x16, store_i8x32, store_i8x64 = make_store(I8x16), make_store(I8x32), make_store(I8x64)
store_u8x16, store_u8x32, store_u8x64 = make_store(U8x16), make_store(U8x32), make_store(U8x64)
load_u16x16, store_u16x16 = make_load(U16x16), make_store(U16x16)
load_i16x16, store_i16x16 = make_load(I16x16), make_store(I16x16)
load_f16x16, store_f16x16 = make_load(F16x16), make_store(F16x16)
splat_4_bytes_u8x64, splat_4_bytes_i8x64 = make_load_splat(U8x64, I32), make_load_splat(I8x64, I32)
splat_4_bytes_u8x32, splat_4_bytes_i8x32 = make_load_splat(U8x32, I32), make_load_splat(I8x32, I32)


@intrinsic
def load_f16(typingctx: Any, address: Any) -> Any:
    """The f16 at an address, as f32."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        return b.fpext(b.load(pointer(b, a[0], F16), align=1), F32)

    return types.float32(types.int64), codegen


@intrinsic
def store_f16(typingctx: Any, address: Any, value: Any) -> Any:
    """Store an f32 rounded to f16, nearest even."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        b.store(b.fptrunc(a[1], F16), pointer(b, a[0], F16), align=1)
        return c.get_dummy_value()

    return types.none(types.int64, types.float32), codegen


@intrinsic
def load_bf16(typingctx: Any, address: Any) -> Any:
    """The bf16 at an address, as f32."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        bits = b.zext(b.load(pointer(b, a[0], I16), align=1), I32)
        return b.bitcast(b.shl(bits, ir.Constant(I32, 16)), F32)

    return types.float32(types.int64), codegen


@intrinsic
def bits_of_f32(typingctx: Any, x: Any) -> Any:
    """The bits of an f32 as uint32."""
    return types.uint32(types.float32), lambda c, b, s, a: b.bitcast(a[0], I32)


@intrinsic
def f32_of_bits(typingctx: Any, x: Any) -> Any:
    """The f32 with these bits."""
    return types.float32(types.uint32), lambda c, b, s, a: b.bitcast(a[0], F32)


@intrinsic
def copy_bytes(typingctx: Any, dst: Any, src: Any, size: Any) -> Any:
    """memmove: copy `size` bytes, overlap allowed."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        p8 = ir.IntType(8).as_pointer()
        f = cgutils.get_or_insert_function(
            b.module,
            ir.FunctionType(ir.VoidType(), [p8, p8, I64, ir.IntType(1)]),
            "llvm.memmove.p0i8.p0i8.i64",
        )
        b.call(f, [b.inttoptr(a[0], p8), b.inttoptr(a[1], p8), a[2], ir.Constant(ir.IntType(1), 0)])
        return c.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen


@intrinsic
def zero_bytes(typingctx: Any, dst: Any, size: Any) -> Any:
    """Set `size` bytes to zero."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        p8 = ir.IntType(8).as_pointer()
        f = cgutils.get_or_insert_function(
            b.module,
            ir.FunctionType(ir.VoidType(), [p8, ir.IntType(8), I64, ir.IntType(1)]),
            "llvm.memset.p0i8.i64",
        )
        b.call(
            f,
            [
                b.inttoptr(a[0], p8),
                ir.Constant(ir.IntType(8), 0),
                a[1],
                ir.Constant(ir.IntType(1), 0),
            ],
        )
        return c.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def atomic_add(typingctx: Any, address: Any, value: Any) -> Any:
    """Add to an int64 and return what it was; acquire and release."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        return b.atomic_rmw("add", pointer(b, a[0], I64), a[1], "acq_rel")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def atomic_load(typingctx: Any, address: Any) -> Any:
    """Read an int64, acquire."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        return b.load_atomic(pointer(b, a[0], I64), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def compare_exchange(typingctx: Any, address: Any, expected: Any, value: Any) -> Any:
    """Set an int64 to `value` if it is `expected`; True when done."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        pair = b.cmpxchg(pointer(b, a[0], I64), a[1], a[2], "acq_rel", "acquire")
        return b.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


@intrinsic
def cpu_pause(typingctx: Any) -> Any:
    """Tell the core that this is a spin loop."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        if isa().startswith("avx"):
            f = cgutils.get_or_insert_function(
                b.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
            )
            b.call(f, [])
        elif isa() == "neon":
            f = cgutils.get_or_insert_function(
                b.module, ir.FunctionType(ir.VoidType(), [I32]), "llvm.aarch64.hint"
            )
            b.call(f, [ir.Constant(I32, 1)])
        return c.get_dummy_value()

    return types.none(), codegen


@intrinsic
def call3(typingctx: Any, function: Any, x: Any, y: Any, z: Any) -> Any:
    """Call a `void(int64, int64, int64)` at an address: a kernel or a row function."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        kind = ir.FunctionType(ir.VoidType(), [I64] * 3)
        b.call(b.inttoptr(a[0], kind.as_pointer()), a[1:])
        return c.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64, types.int64), codegen


@intrinsic
def call0(typingctx: Any, function: Any) -> Any:
    """Call a function without arguments at an address; its result is ignored."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        b.call(b.inttoptr(a[0], ir.FunctionType(I32, []).as_pointer()), [])
        return c.get_dummy_value()

    return types.none(types.int64), codegen


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        p8 = ir.IntType(8).as_pointer()
        f = cgutils.get_or_insert_function(
            b.module, ir.FunctionType(ir.VoidType(), [p8, I32, I32, I32]), "llvm.prefetch.p0i8"
        )
        b.call(f, [b.inttoptr(a[0], p8), *(ir.Constant(I32, v) for v in (0, 3, 1))])
        return c.get_dummy_value()

    return types.none(types.int64), codegen


def _first_lanes(b: ir.IRBuilder, count: ir.Value, n: int) -> ir.Value:
    """A mask of n lanes: lane i is on when i < count."""
    lanes = ir.Constant(ir.VectorType(I32, n), list(range(n)))
    return b.icmp_signed("<", lanes, splat_value(b, Vec("i32", n), b.trunc(count, I32)))


@intrinsic
def load_first_f32x16(typingctx: Any, address: Any, count: Any) -> Any:
    """The first `count` of 16 f32, the other lanes 0; memory beyond is not touched."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        vec, mask = F32x16.ir, _first_lanes(b, a[1], 16)
        kind = ir.FunctionType(vec, [vec.as_pointer(), I32, mask.type, vec])
        f = cgutils.get_or_insert_function(b.module, kind, "llvm.masked.load.v16f32.p0v16f32")
        zero = ir.Constant(vec, [0.0] * 16)
        return b.call(f, [pointer(b, a[0], vec), ir.Constant(I32, 1), mask, zero])

    return F32x16(types.int64, types.int64), codegen


@intrinsic
def store_first_f32x16(typingctx: Any, address: Any, value: Any, count: Any) -> Any:
    """Store the first `count` of 16 f32; memory beyond is not touched."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        vec, mask = F32x16.ir, _first_lanes(b, a[2], 16)
        kind = ir.FunctionType(ir.VoidType(), [vec, vec.as_pointer(), I32, mask.type])
        f = cgutils.get_or_insert_function(b.module, kind, "llvm.masked.store.v16f32.p0v16f32")
        b.call(f, [a[1], pointer(b, a[0], vec), ir.Constant(I32, 1), mask])
        return c.get_dummy_value()

    return types.none(types.int64, F32x16, types.int64), codegen
