"""Rows of the types whose elements come from grids, ternary digits or tiny scales, element by element.

Q1_0 (128 in 18 bytes): f16 d, one bit per element; x = d or -d.
Q2_0 (64 in 18): f16 d, bit pairs, four per byte in order; x = d * (q - 1).
TQ1_0 (256 in 54): 48 bytes of five ternary digits, 4 bytes of four, f16 d. TQ2_0 (256 in 66): 64 bytes of pairs, f16 d.
NVFP4 (64 in 36): four UE4M3 scales, 32 bytes of E2M1 nibbles, a scale per 16.
IQ*: indices into grids of eight or four small values, with signs and scales of three or four bits.

Grids and signs: ggmlrpc_core/quants/grids.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import float32, int64

from ggmlrpc_core.quants.grids import codebook, even_signs
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.blocks.mxfp4 import VALUES as E2M1
from ggmlrpc_cpu.simd import f32_of_bits, load_f16, load_u8, load_u16, load_u32, store_f32

TYPES = (
    "Q1_0", "Q2_0", "TQ1_0", "TQ2_0", "NVFP4",
    "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M",
)  # fmt: skip


@inline
def u8(p: Any) -> Any:
    return int64(load_u8(p))


@inline
def u16(p: Any) -> Any:
    return int64(load_u16(p))


@inline
def u32(p: Any) -> Any:
    return int64(load_u32(p))


@cache
def _grid(type_name: str) -> np.ndarray:
    """The grid of a type, f32, one row of values per index."""
    return codebook(type_name).astype(np.float32)


@cache
def _signs() -> np.ndarray:
    """Eight bits, set where negative, for every index of seven bits."""
    return ((even_signs() < 0).astype(np.int64) << np.arange(8)).sum(axis=1)


@inline
def put_signed(dst: Any, grid: Any, index: Any, n: Any, scale: Any, signs: Any) -> None:
    """n grid values times scale, negative where a bit of signs is set."""
    for i in range(n):
        x = scale * grid[index, i]
        store_f32(dst + 4 * i, -x if (signs >> i) & 1 else x)


def _q1_0() -> Any:
    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for k in range(n):
            p = src + k // 128 * 18
            d = load_f16(p)
            bit = (u8(p + 2 + k % 128 // 8) >> (k % 8)) & 1
            store_f32(dst + 4 * k, d if bit else -d)

    return row


def _q2_0() -> Any:
    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for k in range(n):
            p = src + k // 64 * 18
            q = (u8(p + 2 + k % 64 // 4) >> (2 * (k % 4))) & 3
            store_f32(dst + 4 * k, load_f16(p) * float32(q - 1))

    return row


def _tq1_0() -> Any:
    powers = np.array([1, 3, 9, 27, 81], np.int64)

    @inline
    def digit(byte: Any, i: Any) -> Any:
        return ((((byte * powers[i]) & 255) * 3) >> 8) - 1

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for b in range(n // 256):
            p, out = src + 54 * b, dst + 1024 * b
            d = load_f16(p + 52)
            for i in range(5):
                for j in range(32):
                    store_f32(out + 4 * (32 * i + j), d * float32(digit(u8(p + j), i)))
                for j in range(16):
                    store_f32(out + 4 * (160 + 16 * i + j), d * float32(digit(u8(p + 32 + j), i)))
            for i in range(4):
                for j in range(4):
                    store_f32(out + 4 * (240 + 4 * i + j), d * float32(digit(u8(p + 48 + j), i)))

    return row


def _tq2_0() -> Any:
    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for k in range(n):
            p, i = src + k // 256 * 66, k % 256
            q = (u8(p + i // 128 * 32 + i % 32) >> (2 * (i % 128 // 32))) & 3
            store_f32(dst + 4 * k, load_f16(p + 64) * float32(q - 1))

    return row


def _nvfp4() -> Any:
    values = np.array(E2M1, np.float32)

    @inline
    def half_ue4m3(e: Any) -> Any:
        """Half of an unsigned E4M3 number; 0x7F counts as 0."""
        if e == 0 or e == 0x7F:
            return float32(0)
        exponent, mantissa = (e >> 3) & 15, e & 7
        if exponent == 0:
            return float32(mantissa) * float32(2.0**-10)
        return f32_of_bits(np.uint32(((exponent + 119) << 23) | (mantissa << 20)))

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for k in range(0, n, 16):
            p, s = src + k // 64 * 36, k % 64 // 16
            d = half_ue4m3(u8(p + s))
            for j in range(8):
                byte = u8(p + 4 + 8 * s + j)
                store_f32(dst + 4 * (k + j), d * values[byte & 15])
                store_f32(dst + 4 * (k + 8 + j), d * values[byte >> 4])

    return row


def _iq2_xxs() -> Any:
    grid, ksigns = _grid("IQ2_XXS"), _signs()

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for s in range(n // 32):
            p = src + s // 8 * 66
            q = p + 2 + s % 8 * 8
            word = u32(q + 4)
            d = load_f16(p) * (float32(0.5) + float32(word >> 28)) * float32(0.25)
            for i in range(4):
                put_signed(
                    dst + 128 * s + 32 * i, grid, u8(q + i), 8, d, ksigns[(word >> (7 * i)) & 127]
                )

    return row


def _iq2_xs() -> Any:
    grid, ksigns = _grid("IQ2_XS"), _signs()

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for s in range(n // 16):
            p, j = src + s // 16 * 74, s % 16
            nibble = (u8(p + 66 + j // 2) >> (4 * (j % 2))) & 15
            d = load_f16(p) * (float32(0.5) + float32(nibble)) * float32(0.25)
            for i in range(2):
                q = u16(p + 2 + 4 * j + 2 * i)
                put_signed(dst + 64 * s + 32 * i, grid, q & 511, 8, d, ksigns[q >> 9])

    return row


def _iq2_s() -> Any:
    grid = _grid("IQ2_S")

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for s in range(n // 16):
            p, j = src + s // 16 * 82, s % 16
            nibble = (u8(p + 74 + j // 2) >> (4 * (j % 2))) & 15
            d = load_f16(p) * (float32(0.5) + float32(nibble)) * float32(0.25)
            for i in range(2):
                g = 2 * j + i
                high = (u8(p + 66 + g // 4) >> (2 * (g % 4))) & 3
                put_signed(
                    dst + 64 * s + 32 * i, grid, u8(p + 2 + g) | (high << 8), 8, d, u8(p + 34 + g)
                )

    return row


def _iq3_xxs() -> Any:
    grid, ksigns = _grid("IQ3_XXS"), _signs()

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for s in range(n // 32):
            p, j = src + s // 8 * 98, s % 8
            word = u32(p + 66 + 4 * j)
            d = load_f16(p) * (float32(0.5) + float32(word >> 28)) * float32(0.5)
            for i in range(8):
                signs = ksigns[(word >> (7 * (i // 2))) & 127] >> (4 * (i % 2))
                put_signed(dst + 128 * s + 16 * i, grid, u8(p + 2 + 8 * j + i), 4, d, signs)

    return row


def _iq3_s() -> Any:
    grid = _grid("IQ3_S")

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for s in range(n // 32):
            p, j = src + s // 8 * 110, s % 8
            nibble = (u8(p + 106 + j // 2) >> (4 * (j % 2))) & 15
            d = load_f16(p) * float32(1 + 2 * nibble)
            high = u8(p + 66 + j)
            for i in range(8):
                index = u8(p + 2 + 8 * j + i) | (((high >> i) & 1) << 8)
                signs = u8(p + 74 + 4 * j + i // 2) >> (4 * (i % 2))
                put_signed(dst + 128 * s + 16 * i, grid, index, 4, d, signs)

    return row


@inline
def put_shifted(dst: Any, grid: Any, index: Any, scale: Any, delta: Any) -> None:
    """Eight ternary grid values, moved by delta, times scale."""
    for i in range(8):
        store_f32(dst + 4 * i, scale * (grid[index, i] + delta))


def _iq1_s() -> Any:
    grid = _grid("IQ1_S")

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for s in range(n // 32):
            p, j = src + s // 8 * 50, s % 8
            word = u16(p + 34 + 2 * j)
            d = load_f16(p) * float32(2 * ((word >> 12) & 7) + 1)
            delta = float32(-0.125) if word & 0x8000 else float32(0.125)
            for i in range(4):
                index = u8(p + 2 + 4 * j + i) | (((word >> (3 * i)) & 7) << 8)
                put_shifted(dst + 128 * s + 32 * i, grid, index, d, delta)

    return row


def _iq1_m() -> Any:
    grid = _grid("IQ1_S")  # the two share it

    @inline
    def f16_of_bits(x: Any) -> Any:
        """The f16 with these bits, which is nowhere in memory."""
        sign, exponent, mantissa = (x >> 15) & 1, (x >> 10) & 31, x & 1023
        if exponent == 0:
            magnitude = float32(mantissa) * float32(2.0**-24)
        elif exponent == 31:
            magnitude = f32_of_bits(np.uint32(0x7F800000 | (mantissa << 13)))
        else:
            magnitude = f32_of_bits(np.uint32(((exponent + 112) << 23) | (mantissa << 13)))
        return -magnitude if sign else magnitude

    @inline
    def row(src: Any, dst: Any, n: Any) -> None:
        for g in range(n // 8):
            p, j = src + g // 32 * 56, g % 32
            bits = 0
            for i in range(4):
                bits |= (u16(p + 48 + 2 * i) >> 12) << (4 * i)
            three = (u16(p + 48 + 2 * (j // 8)) >> (3 * (j % 8 // 2))) & 7
            high = u8(p + 32 + j // 2) >> (4 * (j % 2))
            delta = float32(-0.125) if high & 8 else float32(0.125)
            index = u8(p + j) | ((high & 7) << 8)
            put_shifted(
                dst + 32 * g, grid, index, f16_of_bits(bits) * float32(2 * three + 1), delta
            )

    return row


@cache
def row_to_f32(type_name: str) -> Any:
    """An inlinable function (src, dst, n): n values of a row at src as f32 at dst."""
    makers = {
        "Q1_0": _q1_0, "Q2_0": _q2_0, "TQ1_0": _tq1_0, "TQ2_0": _tq2_0, "NVFP4": _nvfp4,
        "IQ2_XXS": _iq2_xxs, "IQ2_XS": _iq2_xs, "IQ2_S": _iq2_s, "IQ3_XXS": _iq3_xxs, "IQ3_S": _iq3_s,
        "IQ1_S": _iq1_s, "IQ1_M": _iq1_m,
    }  # fmt: skip
    return makers[type_name]()
