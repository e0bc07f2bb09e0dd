"""Row functions `from_f32:TYPE` (src, dst, n): F32 to the types that a KV cache or a copy may have.

The rounding is that of ggmlrpc_core.quants, bit for bit, for finite values, but for halves in Q8_0. `n` is a multiple
of the block size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.simd import (
    absolute,
    bf16_bits,
    copy_bytes,
    f32x16_to_bf16,
    horizontal_max,
    load_f32,
    load_f32x16,
    maximum,
    round_even,
    store_f16,
    store_f16x16,
    store_i8x16,
    store_u8,
    store_u16,
    store_u16x16,
    store_u32,
    to_f16x16,
    to_i8x16,
    to_i32x16,
)

HALF, ZERO, ONE = np.float32(0.5), np.float32(0), np.float32(1)


@kernel("from_f32:F32")
def f32(src: Any, dst: Any, n: Any) -> None:
    copy_bytes(dst, src, 4 * n)


@kernel("from_f32:F16")
def f16(src: Any, dst: Any, n: Any) -> None:
    for i in range(0, n - 15, 16):
        store_f16x16(dst + 2 * i, to_f16x16(load_f32x16(src + 4 * i)))
    for i in range(n // 16 * 16, n):
        store_f16(dst + 2 * i, load_f32(src + 4 * i))


@kernel("from_f32:BF16")
def bf16(src: Any, dst: Any, n: Any) -> None:
    for i in range(0, n - 15, 16):
        store_u16x16(dst + 2 * i, f32x16_to_bf16(load_f32x16(src + 4 * i)))
    for i in range(n // 16 * 16, n):
        store_u16(dst + 2 * i, np.uint16(bf16_bits(load_f32(src + 4 * i))))


@kernel("from_f32:Q8_0")
def q8_0(src: Any, dst: Any, n: Any) -> None:
    # Not 1 / d and halves away from zero as in ggmlrpc_core.quants: numbers just at a half, frequent where the source
    # is BF16, then round as on the stock CPU backend of x86 (ggml-cpu/arch/x86/quants.c quantize_row_q8_0).
    for block in range(n // 32):
        x, y = load_f32x16(src + 128 * block), load_f32x16(src + 128 * block + 64)
        size = horizontal_max(maximum(absolute(x), absolute(y)))
        inverse = np.float32(127) / size if size != ZERO else ZERO
        out = dst + 34 * block
        store_f16(out, size / np.float32(127))
        store_i8x16(out + 2, to_i8x16(to_i32x16(round_even(x * inverse))))
        store_i8x16(out + 18, to_i8x16(to_i32x16(round_even(y * inverse))))


@inline
def _extreme(src: Any) -> Any:
    """The value of greatest size of 32, the first of equals; 0 for -0."""
    found, size = ZERO, ZERO
    for j in range(32):
        x = load_f32(src + 4 * j)
        if abs(x) > size:
            found, size = x, abs(x)
    return found


@inline
def _limits(src: Any) -> Any:
    """The least and the greatest value of 32."""
    low = high = load_f32(src)
    for j in range(1, 32):
        x = load_f32(src + 4 * j)
        low, high = (x if x < low else low), (x if x > high else high)
    return low, high


@inline
def _symmetric(src: Any, dst: Any, n: Any, zero: Any) -> None:
    """Q4_0 (zero = 8) and Q5_0 (zero = 16): f16 d, [u32 fifth bits,] nibbles."""
    head = 2 if zero == 8 else 6
    for block in range(n // 32):
        x, out = src + 128 * block, dst + (head + 16) * block
        d = _extreme(x) / np.float32(-zero)
        inverse = ONE / d if d != ZERO else ZERO
        store_f16(out, d)
        shift, bits = np.float32(zero) + HALF, np.int64(0)
        for j in range(16):
            low = min(np.int64(load_f32(x + 4 * j) * inverse + shift), 2 * zero - 1)
            high = min(np.int64(load_f32(x + 4 * j + 64) * inverse + shift), 2 * zero - 1)
            store_u8(out + head + j, np.uint8((low & 15) | (high & 15) << 4))
            bits |= (low >> 4 & 1) << j | (high >> 4 & 1) << (j + 16)
        if head == 6:
            store_u32(out + 2, np.uint32(bits))


@inline
def _affine(src: Any, dst: Any, n: Any, top: Any) -> None:
    """Q4_1 (top = 15) and Q5_1 (top = 31): f16 d, f16 m, [u32 fifth bits,] nibbles."""
    head = 4 if top == 15 else 8
    for block in range(n // 32):
        x, out = src + 128 * block, dst + (head + 16) * block
        least, greatest = _limits(x)
        d = (greatest - least) / np.float32(top)
        inverse = ONE / d if d != ZERO else ZERO
        store_f16(out, d)
        store_f16(out + 2, least)
        bits = np.int64(0)
        for j in range(16):
            low = min(np.int64((load_f32(x + 4 * j) - least) * inverse + HALF), top)
            high = min(np.int64((load_f32(x + 4 * j + 64) - least) * inverse + HALF), top)
            store_u8(out + head + j, np.uint8((low & 15) | (high & 15) << 4))
            bits |= (low >> 4 & 1) << j | (high >> 4 & 1) << (j + 16)
        if head == 8:
            store_u32(out + 4, np.uint32(bits))


@kernel("from_f32:Q4_0")
def q4_0(src: Any, dst: Any, n: Any) -> None:
    _symmetric(src, dst, n, 8)


@kernel("from_f32:Q5_0")
def q5_0(src: Any, dst: Any, n: Any) -> None:
    _symmetric(src, dst, n, 16)


@kernel("from_f32:Q4_1")
def q4_1(src: Any, dst: Any, n: Any) -> None:
    _affine(src, dst, n, 15)


@kernel("from_f32:Q5_1")
def q5_1(src: Any, dst: Any, n: Any) -> None:
    _affine(src, dst, n, 31)
