"""Vector types of Numba: a value of `Vec("f32", 16)` lives in registers.

Operators `+ - * / & | ^ << >>` work between equal vectors and between a vector and a scalar. Kernels use
vectors of 64 bytes everywhere; LLVM splits them where registers are shorter, so the order of additions, and with
it every bit of a result, is the same on all machines.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()
ELEMENTS = {"i8": I8, "u8": I8, "i16": I16, "u16": I16, "i32": I32, "u32": I32, "i64": I64,
            "f16": F16, "f32": F32, "f64": F64}  # fmt: skip
SCALARS = {"i8": types.int8, "u8": types.uint8, "i16": types.int16, "u16": types.uint16, "i32": types.int32,
           "u32": types.uint32, "i64": types.int64, "f32": types.float32, "f64": types.float64}  # fmt: skip


class Vec(types.Type):
    """`n` elements of kind `elem`: i8 u8 i16 u16 i32 u32 i64 f16 f32 f64 (u: shifts and conversions are unsigned)."""

    def __init__(self, elem: str, n: int) -> None:
        self.elem, self.n = elem, n
        super().__init__(name=f"vec{n}x{elem}")

    @property
    def ir(self) -> ir.VectorType:
        """The LLVM type."""
        return ir.VectorType(ELEMENTS[self.elem], self.n)

    @property
    def is_float(self) -> bool:
        """Whether elements are floats."""
        return self.elem[0] == "f"

    @property
    def signed(self) -> bool:
        """Whether integer elements are signed."""
        return self.elem[0] == "i"

    @property
    def bits(self) -> int:
        """Bits per element."""
        return int(self.elem[1:])


@register_model(Vec)
class VecModel(models.PrimitiveModel):
    """A Vec is an LLVM vector value, in registers and in memory."""

    def __init__(self, dmm: Any, fe_type: Vec) -> None:
        super().__init__(dmm, fe_type, fe_type.ir)


F32x16, F32x8, F32x4 = Vec("f32", 16), Vec("f32", 8), Vec("f32", 4)
F64x8, F64x16 = Vec("f64", 8), Vec("f64", 16)
F16x16, U16x16, I16x16, I16x32, U16x32 = (
    Vec("f16", 16),
    Vec("u16", 16),
    Vec("i16", 16),
    Vec("i16", 32),
    Vec("u16", 32),
)
I32x16, U32x16, I32x8, I32x4 = Vec("i32", 16), Vec("u32", 16), Vec("i32", 8), Vec("i32", 4)
I8x16, I8x32, I8x64 = Vec("i8", 16), Vec("i8", 32), Vec("i8", 64)
U8x16, U8x32, U8x64 = Vec("u8", 16), Vec("u8", 32), Vec("u8", 64)


def splat_value(builder: ir.IRBuilder, vec: Vec, scalar: ir.Value) -> ir.Value:
    """A vector of n copies of an LLVM scalar of the element type."""
    if isinstance(scalar, ir.Constant):
        return ir.Constant(vec.ir, [scalar.constant] * vec.n)
    undefined = ir.Constant(vec.ir, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(
        one, undefined, ir.Constant(ir.VectorType(I32, vec.n), [0] * vec.n)
    )


def constant(vec: Vec, value: float) -> ir.Constant:
    """A constant vector of n copies."""
    return ir.Constant(vec.ir, [value] * vec.n)


_FLOAT = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
_INT = {"+": "add", "-": "sub", "*": "mul", "&": "and_", "|": "or_", "^": "xor", "<<": "shl"}


def emit(builder: ir.IRBuilder, symbol: str, vec: Vec, a: ir.Value, b: ir.Value) -> ir.Value:
    """One element-wise operation."""
    if vec.is_float:
        return getattr(builder, _FLOAT[symbol])(a, b)
    if symbol == ">>":
        return builder.ashr(a, b) if vec.signed else builder.lshr(a, b)
    return getattr(builder, _INT[symbol])(a, b)


def _install(symbol: str, function: Any) -> None:
    def generic(self: Any, args: tuple, kws: dict) -> Any:
        if len(args) != 2 or kws:
            return None
        a, b = args
        if isinstance(a, Vec) and a == b:
            return signature(a, a, a)
        if isinstance(a, Vec) and isinstance(b, types.Number):
            return signature(a, a, SCALARS[a.elem])
        if isinstance(b, Vec) and isinstance(a, types.Number):
            return signature(b, SCALARS[b.elem], b)
        return None

    infer_global(function)(
        type(f"Vec{function.__name__}", (AbstractTemplate,), {"generic": generic})
    )

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        vec = sig.return_type
        a, b = (
            v if isinstance(t, Vec) else splat_value(builder, vec, v)
            for t, v in zip(sig.args, args)
        )
        return emit(builder, symbol, vec, a, b)

    lower_builtin(function, Vec, Vec)(lower)
    lower_builtin(function, Vec, types.Number)(lower)
    lower_builtin(function, types.Number, Vec)(lower)


for _symbol, _function in {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
                           "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift,
                           ">>": operator.rshift}.items():  # fmt: skip
    _install(_symbol, _function)


def make_splat(vec: Vec) -> Any:
    """An intrinsic: scalar -> vec of copies."""

    @intrinsic
    def splat(typingctx: Any, x: Any) -> Any:
        return vec(SCALARS[vec.elem]), lambda c, b, s, a: splat_value(b, vec, a[0])

    return splat


def make_zero(vec: Vec) -> Any:
    """An intrinsic: () -> vec of zeros."""

    @intrinsic
    def zero(typingctx: Any) -> Any:
        return vec(), lambda c, b, s, a: constant(vec, 0.0 if vec.is_float else 0)

    return zero


def make_convert(vec: Vec) -> Any:
    """An intrinsic: vector of as many elements -> vec, by value (floats round to nearest even, toward zero to int)."""

    @intrinsic
    def convert(typingctx: Any, x: Any) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            src = s.args[0]
            if src.is_float and vec.is_float:
                name = "fpext" if vec.bits > src.bits else "fptrunc"
            elif src.is_float:
                name = "fptosi" if vec.signed else "fptoui"
            elif vec.is_float:
                name = "sitofp" if src.signed else "uitofp"
            else:
                name = "trunc" if vec.bits < src.bits else ("sext" if src.signed else "zext")
            if src.bits == vec.bits and src.is_float == vec.is_float:
                return a[0]
            return getattr(b, name)(a[0], vec.ir)

        return (vec(x), codegen) if isinstance(x, Vec) and x.n == vec.n else None

    return convert


def make_bitcast(vec: Vec) -> Any:
    """An intrinsic: vector of as many bits -> vec, the bits unchanged."""

    @intrinsic
    def bitcast(typingctx: Any, x: Any) -> Any:
        return vec(x), lambda c, b, s, a: b.bitcast(a[0], vec.ir)

    return bitcast


zero_f32x16, zero_f64x16, zero_i32x16 = make_zero(F32x16), make_zero(F64x16), make_zero(I32x16)
zero_i32x8, zero_f32x8 = make_zero(I32x8), make_zero(F32x8)
splat_f32x16, splat_i32x16, splat_i8x64 = make_splat(F32x16), make_splat(I32x16), make_splat(I8x64)
splat_f32x8, splat_i8x32, splat_i8x16, splat_u8x16 = (
    make_splat(F32x8),
    make_splat(I8x32),
    make_splat(I8x16),
    make_splat(U8x16),
)
to_f32x16, to_f64x16, to_i32x16, to_f16x16 = (
    make_convert(F32x16),
    make_convert(F64x16),
    make_convert(I32x16),
    make_convert(F16x16),
)
to_f32x8, to_i8x16, to_u8x16, to_u16x16, to_u32x16 = (
    make_convert(F32x8),
    make_convert(I8x16),
    make_convert(U8x16),
    make_convert(U16x16),
    make_convert(U32x16),
)
to_i16x16 = make_convert(I16x16)
as_i32x16, as_u32x16, as_f32x16, as_i8x64, as_u8x64 = (
    make_bitcast(v) for v in (I32x16, U32x16, F32x16, I8x64, U8x64)
)
as_i8x16, as_u8x16, as_i8x32, as_u8x32 = (make_bitcast(v) for v in (I8x16, U8x16, I8x32, U8x32))
