"""Floating point functions of vectors and scalars: fma, min, max, rounding, exp, tanh, conversions.

`exp` and what is built on it are our own polynomials in fused steps, so that every ISA gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.simd.lanes import select_less, select_nan
from ggmlrpc_cpu.simd.memory import bits_of_f32
from ggmlrpc_cpu.simd.types import (
    SCALARS,
    Vec,
    as_f32x16,
    as_i32x16,
    as_u32x16,
    splat_f32x16,
    to_f32x16,
    to_i32x16,
    to_u16x16,
    to_u32x16,
)


def _suffix(kind: Any) -> str:
    return f"v{kind.n}f{kind.bits}" if isinstance(kind, Vec) else f"f{kind.bitwidth}"


def _scalar(kind: Any) -> bool:
    return kind in (types.float32, types.float64)


def _make(name: str, n_args: int, doc: str) -> Any:
    """An intrinsic over an LLVM floating point intrinsic of one type."""

    def emit(x: Any, args: int) -> Any:
        def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
            kind = c.get_value_type(x)
            f = cgutils.get_or_insert_function(
                b.module, ir.FunctionType(kind, [kind] * args), f"llvm.{name}.{_suffix(x)}"
            )
            return b.call(f, a)

        return x(*[x] * args), codegen

    if n_args == 1:

        @intrinsic
        def function(typingctx: Any, x: Any) -> Any:
            return emit(x, 1)
    elif n_args == 2:

        @intrinsic
        def function(typingctx: Any, x: Any, y: Any) -> Any:
            return emit(x, 2)
    else:

        @intrinsic
        def function(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
            return emit(x, 3)

    function.__doc__ = doc
    return function


fma = _make("fma", 3, "x * y + z with one rounding.")
sqrt = _make("sqrt", 1, "Square root.")
absolute = _make("fabs", 1, "Absolute value.")
round_even = _make("rint", 1, "Nearest integer, ties to even.")
floor = _make("floor", 1, "Largest integer not above.")
ceil = _make("ceil", 1, "Smallest integer not below.")
trunc = _make("trunc", 1, "Toward zero.")
copysign = _make("copysign", 2, "Magnitude of x with the sign of y.")


@intrinsic
def minimum(typingctx: Any, x: Any, y: Any) -> Any:
    """x if x < y else y, per lane."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        less = b.fcmp_ordered("<", *a) if _floats(x) else b.icmp_signed("<", *a)
        return b.select(less, a[0], a[1])

    return x(x, x), codegen


@intrinsic
def maximum(typingctx: Any, x: Any, y: Any) -> Any:
    """x if x > y else y, per lane."""

    def codegen(c: Any, b: ir.IRBuilder, s: Any, a: Any) -> ir.Value:
        more = b.fcmp_ordered(">", *a) if _floats(x) else b.icmp_signed(">", *a)
        return b.select(more, a[0], a[1])

    return x(x, x), codegen


def _floats(kind: Any) -> bool:
    return kind.is_float if isinstance(kind, Vec) else kind in SCALARS.values() and _scalar(kind)


LOG2E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
EXP_MIN, EXP_MAX = np.float32(-104.0), np.float32(89.0)


@inline
def exp_f32x16(x: Any) -> Any:
    """e^x for 16 lanes; at most 2 units in the last place; 0 below -104, inf above 89, NaN stays."""
    y = minimum(maximum(x, splat_f32x16(EXP_MIN)), splat_f32x16(EXP_MAX))
    n = round_even(y * LOG2E)
    r = fma(n, splat_f32x16(-LN2_HIGH), y)
    r = fma(n, splat_f32x16(-LN2_LOW), r)
    p = splat_f32x16(np.float32(1.9875691500e-4))
    p = fma(p, r, splat_f32x16(np.float32(1.3981999507e-3)))
    p = fma(p, r, splat_f32x16(np.float32(8.3334519073e-3)))
    p = fma(p, r, splat_f32x16(np.float32(4.1665795894e-2)))
    p = fma(p, r, splat_f32x16(np.float32(1.6666665459e-1)))
    p = fma(p, r, splat_f32x16(np.float32(5.0000001201e-1)))
    p = fma(p, r * r, r) + np.float32(1)
    # 2^n in two factors, so that results below the normal range and 2^128 come out right
    i = to_i32x16(n)
    half = i >> 1
    first = as_f32x16((half + 127) << 23)
    second = as_f32x16((i - half + 127) << 23)
    return select_nan(x, x, p * first * second)


@inline
def exp_f32(x: Any) -> Any:
    """e^x of one f32, the bits of exp_f32x16."""
    y = min(max(x, EXP_MIN), EXP_MAX)
    from_vector = exp_f32x16(splat_f32x16(y if x == x else x))
    return _first(from_vector)


@intrinsic
def _first(typingctx: Any, x: Any) -> Any:
    return SCALARS[x.elem](x), lambda c, b, s, a: b.extract_element(
        a[0], ir.Constant(ir.IntType(32), 0)
    )


@inline
def expm1_f32x16(x: Any) -> Any:
    """e^x - 1 with small errors near 0 too."""
    # below 0.35 in magnitude: the Taylor series to x^8, relative error below 1e-7
    p = splat_f32x16(np.float32(1 / 40320))
    for c in (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0):
        p = fma(p, x, splat_f32x16(np.float32(c)))
    return select_less(
        absolute(x), splat_f32x16(np.float32(0.35)), p * x, exp_f32x16(x) - np.float32(1)
    )


@inline
def tanh_f32x16(x: Any) -> Any:
    """tanh from expm1: t / (t + 2) with t = e^(2|x|) - 1."""
    a = minimum(absolute(x), splat_f32x16(np.float32(20)))
    t = expm1_f32x16(a + a)
    return select_nan(x, x, copysign(t / (t + np.float32(2)), x))


@inline
def sigmoid_f32x16(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return np.float32(1) / (exp_f32x16(x * np.float32(-1)) + np.float32(1))


@inline
def bf16_to_f32x16(x: Any) -> Any:
    """16 bf16 (as u16) to f32."""
    return as_f32x16(to_u32x16(x) << 16)


@inline
def f32x16_to_bf16(x: Any) -> Any:
    """f32 to bf16 (as u16), nearest even; NaN becomes a quiet NaN."""
    bits = as_u32x16(x)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return to_u16x16(select_nan(x, (bits >> 16) | 64, rounded))


@inline
def bf16_bits(x: Any) -> Any:
    """The same for one f32."""
    bits = np.int64(bits_of_f32(x))
    if x != x:
        return (bits >> 16) | 64
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


@inline
def log_f32x16(x: Any) -> Any:
    """Natural logarithm of positive normal numbers; at most 2 units in the last place."""
    bits = as_i32x16(x)
    # x = m * 2^e with m in [sqrt(1/2), sqrt(2))
    e = ((bits - 0x3F3504F3) >> 23) << 23
    m = as_f32x16(bits - e) - np.float32(1)
    n = to_f32x16(e >> 23)
    p = splat_f32x16(np.float32(7.0376836292e-2))
    for c in (
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    ):
        p = fma(p, m, splat_f32x16(np.float32(c)))
    square = m * m
    y = fma(n, splat_f32x16(LN2_LOW), p * m * square)
    y = fma(square, splat_f32x16(np.float32(-0.5)), y)
    return fma(n, splat_f32x16(LN2_HIGH), m + y)


@inline
def erf_f32x16(x: Any) -> Any:
    """Error function; absolute error below 2e-7 (Abramowitz and Stegun 7.1.26)."""
    a = absolute(x)
    t = np.float32(1) / fma(a, splat_f32x16(np.float32(0.3275911)), splat_f32x16(np.float32(1)))
    p = splat_f32x16(np.float32(1.061405429))
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        p = fma(p, t, splat_f32x16(np.float32(c)))
    return copysign(np.float32(1) - p * t * exp_f32x16(a * a * np.float32(-1)), x)
