"""FLASH_ATTN_EXT: softmax of scores times values, online, in tiles that stay in cache.

A work item is (stream, K head, block of BLOCK query rows of the heads that share it, chunk of K rows). K and V rows
of a tile are made f32 once for the block by row functions, so that every type takes the same path. When K is cut into
several chunks, each leaves maximum, sum and values in the shared region, and FLASH_COMBINE joins them in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_cpu.compile import kernel
from ggmlrpc_cpu.families.attention import BLOCK, HEAD, TILE
from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import (
    address,
    arg,
    nb,
    ne,
    param_f32,
    row_function,
    slot,
    stopped,
    take,
)
from ggmlrpc_cpu.record import SCRATCH, SHARED
from ggmlrpc_cpu.simd import (
    call3,
    exp_f32,
    exp_f32x16,
    fma,
    high_half,
    horizontal_max,
    horizontal_sum,
    insert,
    lane_numbers,
    load_f16,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_u16,
    low_half,
    maximum,
    select_less,
    splat_f32x16,
    splat_i32x16,
    store_f32,
    store_f32x8,
    store_f32x16,
    sums_of_16,
    tanh_f32x16,
    to_f32x16,
    zero_bytes,
    zero_f32x16,
)

LOWEST = np.float32(np.finfo(np.float32).min)
ZERO, ONE = np.float32(0), np.float32(1)
MINUS_INF_F16 = 0xFC00
BELOW_F16 = np.float32(-65520)
"""Below every finite F16."""


@inline
def decode_rows(function: Any, a: Any, step: Any, out: Any, width: Any, n: Any, rows: Any) -> None:
    """`rows` rows of n elements as f32, `width` elements apart."""
    for j in range(rows):
        call3(function, a + j * step, out + 4 * width * j, n)


@inline
def scores_of(s: Any, q: Any, r: Any, k: Any, width: Any, rows: Any) -> None:
    """s[j] = q . k[j] and s[TILE + j] = r . k[j]; `rows` is a multiple of 8."""
    step = 4 * width
    for j in range(0, rows, 8):
        at = k + step * j
        zero = zero_f32x16()
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
        b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = zero
        for i in range(0, step, 64):
            x, y, p = load_f32x16(q + i), load_f32x16(r + i), at + i
            z = load_f32x16(p)
            a0, b0 = fma(x, z, a0), fma(y, z, b0)
            z = load_f32x16(p + step)
            a1, b1 = fma(x, z, a1), fma(y, z, b1)
            z = load_f32x16(p + 2 * step)
            a2, b2 = fma(x, z, a2), fma(y, z, b2)
            z = load_f32x16(p + 3 * step)
            a3, b3 = fma(x, z, a3), fma(y, z, b3)
            z = load_f32x16(p + 4 * step)
            a4, b4 = fma(x, z, a4), fma(y, z, b4)
            z = load_f32x16(p + 5 * step)
            a5, b5 = fma(x, z, a5), fma(y, z, b5)
            z = load_f32x16(p + 6 * step)
            a6, b6 = fma(x, z, a6), fma(y, z, b6)
            z = load_f32x16(p + 7 * step)
            a7, b7 = fma(x, z, a7), fma(y, z, b7)
        sums = sums_of_16((a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7))
        store_f32x8(s + 4 * j, low_half(sums))
        store_f32x8(s + 4 * (TILE + j), high_half(sums))


@inline
def add_values(acc: Any, bcc: Any, f: Any, g: Any, p: Any, v: Any, width: Any, rows: Any) -> None:
    """acc = acc * f + sum of p[j] * v[j], and bcc = bcc * g + sum of p[TILE + j] * v[j]."""
    i = 0
    while i + 64 <= width:
        at, bt = acc + 4 * i, bcc + 4 * i
        a0, a1 = load_f32x16(at) * f, load_f32x16(at + 64) * f
        a2, a3 = load_f32x16(at + 128) * f, load_f32x16(at + 192) * f
        b0, b1 = load_f32x16(bt) * g, load_f32x16(bt + 64) * g
        b2, b3 = load_f32x16(bt + 128) * g, load_f32x16(bt + 192) * g
        for j in range(rows):
            pa, pb = load_f32(p + 4 * j), load_f32(p + 4 * (TILE + j))
            if pa == ZERO and pb == ZERO:
                continue
            wa, wb = splat_f32x16(pa), splat_f32x16(pb)
            x = v + 4 * (width * j + i)
            z = load_f32x16(x)
            a0, b0 = fma(wa, z, a0), fma(wb, z, b0)
            z = load_f32x16(x + 64)
            a1, b1 = fma(wa, z, a1), fma(wb, z, b1)
            z = load_f32x16(x + 128)
            a2, b2 = fma(wa, z, a2), fma(wb, z, b2)
            z = load_f32x16(x + 192)
            a3, b3 = fma(wa, z, a3), fma(wb, z, b3)
        store_f32x16(at, a0)
        store_f32x16(at + 64, a1)
        store_f32x16(at + 128, a2)
        store_f32x16(at + 192, a3)
        store_f32x16(bt, b0)
        store_f32x16(bt + 64, b1)
        store_f32x16(bt + 128, b2)
        store_f32x16(bt + 192, b3)
        i += 64
    while i < width:
        a0, b0 = load_f32x16(acc + 4 * i) * f, load_f32x16(bcc + 4 * i) * g
        for j in range(rows):
            pa, pb = load_f32(p + 4 * j), load_f32(p + 4 * (TILE + j))
            if pa != ZERO or pb != ZERO:
                z = load_f32x16(v + 4 * (width * j + i))
                a0, b0 = fma(splat_f32x16(pa), z, a0), fma(splat_f32x16(pb), z, b0)
        store_f32x16(acc + 4 * i, a0)
        store_f32x16(bcc + 4 * i, b0)
        i += 16


@inline
def weigh(s: Any, state: Any, n: Any, mask: Any, slope: Any, softcap: Any) -> Any:
    """Turn the n scores of a row into weights against its new maximum; the factor of what came before.

    Updates maximum and sum in `state`. Scores from n on become weights of 0.
    """
    minus_inf = splat_f32x16(-np.float32(np.inf))
    top16 = minus_inf
    for i in range(0, TILE, 16):
        if i >= n:
            store_f32x16(s + 4 * i, minus_inf)
            continue
        x = load_f32x16(s + 4 * i)
        if softcap != ZERO:
            x = tanh_f32x16(x) * softcap
        if i + 16 > n:
            x = select_less(lane_numbers() + np.int32(i), splat_i32x16(np.int32(n)), x, minus_inf)
        if mask != 0:
            masked = load_mask(mask + 2 * i, n - i)
            # whatever K holds there: rows that nobody has written may be NaN
            x = select_less(
                masked, splat_f32x16(BELOW_F16), minus_inf, fma(masked, splat_f32x16(slope), x)
            )
        store_f32x16(s + 4 * i, x)
        top16 = maximum(top16, x)
    old = load_f32(state)
    new = max(old, horizontal_max(top16))
    factor = exp_f32(old - new)
    total, new16 = zero_f32x16(), splat_f32x16(new)
    for i in range(0, TILE, 16):
        p = exp_f32x16(load_f32x16(s + 4 * i) - new16)
        store_f32x16(s + 4 * i, p)
        total = total + p
    store_f32(state, new)
    store_f32(state + 4, load_f32(state + 4) * factor + horizontal_sum(total))
    return factor


@inline
def load_mask(mask: Any, n: Any) -> Any:
    """Up to 16 mask values as f32; memory beyond the first n is not touched."""
    if n >= 16:
        return to_f32x16(load_f16x16(mask))
    values = zero_f32x16()
    for i in range(n):
        values = insert(values, load_f16(mask + 2 * i), i)
    return values


@inline
def mask_row(rec: Any, t: Any, h: Any, i3: Any) -> Any:
    """Address of the mask row of a query, 0 without a mask."""
    if address(rec, 4) == 0:
        return np.int64(0)
    at = address(rec, 4) + t * nb(rec, 4, 1) + h % ne(rec, 4, 2) * nb(rec, 4, 2)
    return at + i3 % ne(rec, 4, 3) * nb(rec, 4, 3)


@inline
def all_masked(mask: Any, n: Any) -> Any:
    """Whether n mask values (F16) are all -inf."""
    for i in range(n):  # noqa: SIM110
        if load_u16(mask + 2 * i) != MINUS_INF_F16:
            return False
    return True


@inline
def finish(out: Any, acc: Any, m: Any, total: Any, sink: Any, has_sink: Any, dv: Any) -> None:
    """out = acc / sum, with the sink as one more score that has no value."""
    factor = ONE
    if has_sink:
        top = max(m, sink)
        factor = exp_f32(m - top)
        total = total * factor + exp_f32(sink - top)
    scale = factor / total if total > ZERO else ZERO
    for i in range(dv):
        store_f32(out + 4 * i, load_f32(acc + 4 * i) * scale)


@kernel("FLASH_ATTN")
def flash_attn(rec: Any, ith: Any, nth: Any) -> None:
    """Sources: q, k, v, mask, sinks. Row functions: k to f32, v to f32.

    args: 0 chunks, 1 K rows of a chunk, 2 address of the slopes, 3 scratch bytes of a thread.
    """
    dk, tokens, heads, streams = ne(rec, 1, 0), ne(rec, 1, 1), ne(rec, 1, 2), ne(rec, 1, 3)
    kv, heads_k, dv = ne(rec, 2, 1), ne(rec, 2, 2), ne(rec, 3, 0)
    chunks, chunk_rows, slopes = arg(rec, 0), arg(rec, 1), arg(rec, 2)
    group = heads // heads_k
    wk, wv = (dk + 15) // 16 * 16, (dv + 15) // 16 * 16
    scale, softcap = param_f32(rec, 0), param_f32(rec, 2)
    if softcap != ZERO:
        scale = scale / softcap
    mask, sinks = address(rec, 4), address(rec, 5)

    k_tile = slot(rec, SCRATCH) + ith * arg(rec, 3)
    v_tile = k_tile + 4 * TILE * wk
    q_rows = v_tile + 4 * TILE * wv
    acc = q_rows + 4 * BLOCK * wk
    s = acc + 4 * BLOCK * wv
    state = s + 8 * TILE  # maximum and sum of each row of the block
    if wk != dk or wv != dv:
        zero_bytes(k_tile, 4 * (TILE + BLOCK) * wk + 4 * TILE * wv)  # what pads rows stays 0

    rows_of_head = group * tokens
    blocks = (rows_of_head + BLOCK - 1) // BLOCK
    items = streams * heads_k * blocks * chunks
    item = take(rec, 1)
    while item < items:
        c = item % chunks
        rest = item // chunks
        b = rest % blocks
        rest = rest // blocks
        hk = rest % heads_k
        i3 = rest // heads_k
        j0 = b * BLOCK
        n_q = min(BLOCK, rows_of_head - j0)
        k_head = (
            address(rec, 2) + hk * nb(rec, 2, 2) + i3 // (streams // ne(rec, 2, 3)) * nb(rec, 2, 3)
        )
        v_head = (
            address(rec, 3) + hk * nb(rec, 3, 2) + i3 // (streams // ne(rec, 3, 3)) * nb(rec, 3, 3)
        )
        for j in range(n_q):
            t, h = (j0 + j) // group, hk * group + (j0 + j) % group
            q = address(rec, 1) + t * nb(rec, 1, 1) + h * nb(rec, 1, 2) + i3 * nb(rec, 1, 3)
            for i in range(dk):
                store_f32(q_rows + 4 * (wk * j + i), load_f32(q + 4 * i) * scale)
            store_f32(state + 8 * j, LOWEST)
            store_f32(state + 8 * j + 4, ZERO)
        zero_bytes(acc, 4 * wv * n_q)

        last = min(kv, (c + 1) * chunk_rows)
        for first in range(c * chunk_rows, last, TILE):
            if stopped(rec):
                break
            n = min(TILE, last - first)
            if mask != 0:
                skip = True
                for j in range(n_q):
                    t, h = (j0 + j) // group, hk * group + (j0 + j) % group
                    if not all_masked(mask_row(rec, t, h, i3) + 2 * first, n):
                        skip = False
                        break
                if skip:
                    continue
            decode_rows(
                row_function(rec, 0),
                k_head + first * nb(rec, 2, 1),
                nb(rec, 2, 1),
                k_tile,
                wk,
                dk,
                n,
            )
            decode_rows(
                row_function(rec, 1),
                v_head + first * nb(rec, 3, 1),
                nb(rec, 3, 1),
                v_tile,
                wv,
                dv,
                n,
            )
            for j in range(0, n_q, 2):
                # An odd last row is its own pair: the same numbers are made and stored twice.
                j1 = min(j + 1, n_q - 1)
                qa, qb = q_rows + 4 * wk * j, q_rows + 4 * wk * j1
                scores_of(s, qa, qb, k_tile, wk, (n + 7) // 8 * 8)
                fa = fb = ONE
                for i in range(j, j1 + 1):
                    t, h = (j0 + i) // group, hk * group + (j0 + i) % group
                    m_row = mask_row(rec, t, h, i3)
                    slope = ONE
                    if m_row != 0:
                        m_row += 2 * first
                        slope = load_f32(slopes + 4 * h)
                    fb = weigh(s + 4 * TILE * (i - j), state + 8 * i, n, m_row, slope, softcap)
                    if i == j:
                        fa = fb
                if j1 == j:
                    for i in range(0, TILE, 16):
                        store_f32x16(s + 4 * (TILE + i), load_f32x16(s + 4 * i))
                acc_a, acc_b = acc + 4 * wv * j, acc + 4 * wv * j1
                add_values(acc_a, acc_b, fa, fb, s, v_tile, wv, n)

        for j in range(n_q):
            t, h = (j0 + j) // group, hk * group + (j0 + j) % group
            a, m, total1 = acc + 4 * wv * j, load_f32(state + 8 * j), load_f32(state + 8 * j + 4)
            if chunks == 1:
                out = address(rec, 0) + h * nb(rec, 0, 1) + t * nb(rec, 0, 2) + i3 * nb(rec, 0, 3)
                sink = load_f32(sinks + 4 * h) if sinks != 0 else ZERO
                finish(out, a, m, total1, sink, sinks != 0, dv)
            else:
                out = slot(rec, SHARED) + 4 * (wv + HEAD) * (
                    ((i3 * tokens + t) * heads + h) * chunks + c
                )
                store_f32(out, m)
                store_f32(out + 4, total1)
                for i in range(0, wv, 16):
                    store_f32x16(out + 4 * (HEAD + i), load_f32x16(a + 4 * i))
        item = take(rec, 1)


@kernel("FLASH_COMBINE")
def flash_combine(rec: Any, ith: Any, nth: Any) -> None:
    """Join the chunks of each query row in the order of K; arguments as FLASH_ATTN."""
    tokens, heads, streams = ne(rec, 1, 1), ne(rec, 1, 2), ne(rec, 1, 3)
    dv, chunks, sinks = ne(rec, 3, 0), arg(rec, 0), address(rec, 5)
    wv = (dv + 15) // 16 * 16
    step = 4 * (wv + HEAD)
    rows = streams * tokens * heads
    r = take(rec, 1)
    while r < rows:
        h, t, i3 = r % heads, r // heads % tokens, r // (heads * tokens)
        base = slot(rec, SHARED) + step * chunks * r
        top = LOWEST
        for c in range(chunks):
            top = max(top, load_f32(base + step * c))
        total = ZERO
        out = address(rec, 0) + h * nb(rec, 0, 1) + t * nb(rec, 0, 2) + i3 * nb(rec, 0, 3)
        acc = base + 4 * HEAD  # the first chunk's values become the result
        for c in range(chunks):
            part = base + step * c
            factor = exp_f32(load_f32(part) - top)
            total += load_f32(part + 4) * factor
            for i in range(0, wv, 16):
                x = load_f32x16(part + 4 * (HEAD + i)) * factor
                store_f32x16(acc + 4 * i, x if c == 0 else load_f32x16(acc + 4 * i) + x)
        sink = load_f32(sinks + 4 * h) if sinks != 0 else ZERO
        finish(out, acc, top, total, sink, sinks != 0, dv)
        r = take(rec, 1)
