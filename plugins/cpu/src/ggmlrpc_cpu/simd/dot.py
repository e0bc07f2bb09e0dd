"""Dot products of bytes: the one place where ISAs differ in more than width."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from ggmlrpc_cpu.isa import isa
from ggmlrpc_cpu.simd.lanes import shuffle_value
from ggmlrpc_cpu.simd.types import I8, I16


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, args: list[ir.Value]) -> ir.Value:
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _part(builder: ir.IRBuilder, x: ir.Value, first: int, n: int) -> ir.Value:
    return x if n == x.type.count else shuffle_value(builder, x, x, range(first, first + n))


def _split(
    builder: ir.IRBuilder, acc: ir.Value, u: ir.Value, s: ir.Value, n: int, one: Any
) -> ir.Value:
    """Apply `one` to pieces of n i32 lanes and join the results."""
    lanes = acc.type.count
    parts = [
        one(
            _part(builder, acc, i, n),
            _part(builder, u, 4 * i, 4 * n),
            _part(builder, s, 4 * i, 4 * n),
        )
        for i in range(0, lanes, n)
    ]
    while len(parts) > 1:
        parts = [
            shuffle_value(builder, x, y, range(2 * x.type.count))
            for x, y in zip(parts[::2], parts[1::2])
        ]
    return parts[0]


def _dot_vnni(b: ir.IRBuilder, acc: ir.Value, u: ir.Value, s: ir.Value, *, widest: int) -> ir.Value:
    def one(acc: ir.Value, u: ir.Value, s: ir.Value) -> ir.Value:
        n = acc.type.count
        return _call(
            b,
            f"llvm.x86.avx512.vpdpbusd.{32 * n}",
            acc.type,
            [acc, b.bitcast(u, acc.type), b.bitcast(s, acc.type)],
        )

    return _split(b, acc, u, s, min(widest, acc.type.count), one)


def _dot_avx2(b: ir.IRBuilder, acc: ir.Value, u: ir.Value, s: ir.Value) -> ir.Value:
    def one(acc: ir.Value, u: ir.Value, s: ir.Value) -> ir.Value:
        n = acc.type.count
        bytes_name, words_name = (
            ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd") if n == 8
            else ("llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd")
        )  # fmt: skip
        words = _call(b, bytes_name, ir.VectorType(I16, 2 * n), [u, s])
        ones = ir.Constant(words.type, [1] * (2 * n))
        return b.add(acc, _call(b, words_name, acc.type, [words, ones]))

    return _split(b, acc, u, s, min(8, acc.type.count), one)


def _dot_neon(b: ir.IRBuilder, acc: ir.Value, u: ir.Value, s: ir.Value) -> ir.Value:
    def one(acc: ir.Value, u: ir.Value, s: ir.Value) -> ir.Value:
        return _call(b, "llvm.aarch64.neon.sdot.v4i32.v16i8", acc.type, [acc, u, s])

    return _split(b, acc, u, s, 4, one)


def _dot_generic(b: ir.IRBuilder, acc: ir.Value, u: ir.Value, s: ir.Value) -> ir.Value:
    """Byte k of every 32-bit lane by shifts: plain vector operations that every target has."""
    u, s = b.bitcast(u, acc.type), b.bitcast(s, acc.type)

    def shift(amount: int) -> ir.Constant:
        return ir.Constant(acc.type, [amount] * acc.type.count)

    for k in range(4):
        x = b.ashr(b.shl(u, shift(24 - 8 * k)), shift(24))
        y = b.ashr(b.shl(s, shift(24 - 8 * k)), shift(24))
        acc = b.add(acc, b.mul(x, y))
    return acc


def _dot(b: ir.IRBuilder, acc: ir.Value, u: ir.Value, s: ir.Value) -> ir.Value:
    kind = isa()
    if kind == "avx512vnni":
        return _dot_vnni(b, acc, u, s, widest=16)
    if kind == "avxvnni":
        return _dot_vnni(b, acc, u, s, widest=8)
    return {"avx2": _dot_avx2, "neon": _dot_neon, "generic": _dot_generic}[kind](b, acc, u, s)


@intrinsic
def dot_u8_i8(typingctx: Any, acc: Any, u: Any, s: Any) -> Any:
    """acc[n x i32] + sums of four of u[4n] * s[4n], exact.

    Args:
        u: bytes in 0..127 (a wider range saturates or changes sign on some ISAs).
        s: bytes in -128..127.
    """
    return acc(acc, u, s), lambda c, b, sig, a: _dot(b, *a)


@intrinsic
def dot_i8_i8(typingctx: Any, acc: Any, x: Any, y: Any) -> Any:
    """acc[n x i32] + sums of four of x[4n] * y[4n], exact.

    Args:
        x: bytes in -127..127.
        y: bytes in -127..127.
    """

    def codegen(c: Any, b: ir.IRBuilder, sig: Any, a: Any) -> ir.Value:
        acc, x, y = a
        if not isa().startswith("avx"):
            return _dot(b, acc, x, y)  # signed already
        zero = ir.Constant(x.type, [0] * x.type.count)
        if isa() in ("avx2", "avxvnni") and x.type.count in (32, 64):

            def sign(v: ir.Value, by: ir.Value) -> ir.Value:
                wide = ir.VectorType(I8, 32)
                parts = [
                    _call(
                        b, "llvm.x86.avx2.psign.b", wide, [_part(b, v, i, 32), _part(b, by, i, 32)]
                    )
                    for i in range(0, v.type.count, 32)
                ]
                return (
                    parts[0] if len(parts) == 1 else shuffle_value(b, parts[0], parts[1], range(64))
                )

            return _dot(b, acc, sign(x, x), sign(y, x))
        negative = b.icmp_signed("<", x, zero)
        return _dot(
            b, acc, b.select(negative, b.sub(zero, x), x), b.select(negative, b.sub(zero, y), y)
        )

    return acc(acc, x, y), codegen
