"""Searches for the scale of a group that the K and IQ4 encoders share.

All groups are searched at once: arrays are [elements of a group, groups], results per group [groups]. Every sum and
product is in float32 and in the order of the stock reference quantizers, because their comparisons of
candidates turn on the last bits. The result is theirs as long as no compiler fused a multiplication and an addition.

Source: ggml-quants.c make_qkx2_quants, make_qx_quants, make_q3_quants, quantize_row_iq4_nl_impl.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ggmlrpc_core.quants.bits import Array, clamp, extreme, f32, nearest_int, ordered_sum

SMALLEST = f32(1e-15)
"""A group whose greatest size is below this counts as zero."""


def affine(
    xp: Any, x: Array, weights: Array, *, top: int, first: float, steps: int, absolute: bool
) -> tuple[Array, Array, Array]:
    """Find scale and offset for x = scale * q - offset, q in 0..top.

    Candidates assume top + first, top + first + 0.1, ... levels between the least and the greatest value, and are
    refined by weighted least squares.

    Args:
        x: float32 [m, g].
        weights: float32 [m, g], >= 0.
        top: greatest quant.
        first: added to `top` in the first candidate, usually negative.
        steps: candidates after the first.
        absolute: whether errors count by size (else squared).

    Returns:
        (scale [g], offset [g] >= 0, quants int32 [m, g]).
    """
    high = xp.max(x, axis=0)
    low = xp.minimum(xp.min(x, axis=0), 0.0)
    flat = high == low
    sum_w, sum_x = ordered_sum(weights), ordered_sum(weights * x)

    def levels(inverse: Array, low: Array) -> Array:
        return clamp(xp, nearest_int(xp, inverse * (x - low)), 0, top)

    def error(scale: Array, low: Array, q: Array) -> Array:
        miss = scale * q + low - x
        return ordered_sum(weights * (xp.abs(miss) if absolute else miss * miss))

    inverse = float(top) / (high - low)
    scale = 1.0 / inverse
    best = error(scale, low, levels(inverse, low).astype(xp.float32))
    chosen = inverse, low
    for step in range(steps + 1):
        # The offset of the best candidate so far is where the next one starts from.
        inverse = _ladder(first, step, top) / (high - low)
        q = levels(inverse, low).astype(xp.float32)
        wq = weights * q
        sum_q, sum_qq, sum_qx = ordered_sum(wq), ordered_sum(wq * q), ordered_sum(wq * x)
        det = sum_w * sum_qq - sum_q * sum_q
        new_low = (sum_qq * sum_x - sum_q * sum_qx) / det
        new_scale = (sum_w * sum_qx - sum_x * sum_q) / det
        positive = new_low > 0
        new_scale = xp.where(positive, sum_qx / sum_qq, new_scale)
        new_low = xp.where(positive, 0.0, new_low)
        miss = error(new_scale, new_low, q)
        better = (det > 0) & (miss < best)
        chosen = xp.where(better, inverse, chosen[0]), xp.where(better, low, chosen[1])
        best = xp.where(better, miss, best)
        scale = xp.where(better, new_scale, scale)
        low = xp.where(better, new_low, low)
    return xp.where(flat, 0.0, scale), -low, xp.where(flat, 0, levels(*chosen))


def symmetric(xp: Any, x: Array, top: int) -> tuple[Array, Array]:
    """Find the scale for x = scale * (q - top), q in 0..2 top - 1, with weights x**2.

    Args:
        x: float32 [m, g].
        top: quant of zero.

    Returns:
        (scale [g] of either sign, quants int32 [m, g], 0 in an empty group).
    """
    peak = extreme(xp, x, 0)[0]
    wx = x * x * x

    def levels(inverse: Array) -> Array:
        return clamp(xp, nearest_int(xp, inverse * x), -top, top - 1)

    tenths = [np.float32(0.1) * np.float32(i) for i in range(-9, 10) if i]
    numbers = [float(-top), *(-f32(np.float32(top) + tenth) for tenth in tenths)]
    scale, inverse = _best_scale(
        xp,
        x * x,
        [number / peak for number in numbers],
        value=lambda inverse: levels(inverse).astype(xp.float32),
        against=lambda v: wx * v,
    )
    empty = xp.abs(peak) < SMALLEST
    return xp.where(empty, 0.0, scale), xp.where(empty, 0, levels(inverse) + top)


def nearest_values(
    xp: Any, x: Array, values: np.ndarray, *, tries: int, index: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Find the scale for x = scale * values[q], with weights x**2.

    Args:
        x: float32 [m, g].
        values: host table of integers; the first is negative and of greatest size.
        tries: candidates on each side of the first; 0 takes the first as it is.
        index: the quants whose values are nearest to numbers.

    Returns:
        (scale [g], quants int32 [m, g] of the first candidate).
    """
    peak = extreme(xp, x, 0)[0]
    weights = x * x
    edge = float(values[0])
    table = xp.asarray(values.astype(np.float32))
    # NOTE: without tries the stock code puts the extreme at the other end of the table.
    first = 1.0 / ((-peak if tries else peak) / edge)
    steps = range(-tries, tries + 1) if tries else ()
    scale, _ = _best_scale(
        xp,
        weights,
        [first, *((step + edge) / peak for step in steps)],
        value=lambda inverse: xp.take(table, index(inverse * x)),
        against=lambda v: weights * v * x,
    )
    return xp.where(xp.abs(peak) < SMALLEST, 0.0, scale), index(first * x)


def descent(xp: Any, x: Array, top: int) -> tuple[Array, Array]:
    """Find the scale for x = scale * (q - top), q in 0..2 top - 1, moving one quant at a time, weights x**2.

    Args:
        x: float32 [m, g].
        top: quant of zero.

    Returns:
        (scale [g] of either sign, quants int32 [m, g], 0 in an empty group).
    """
    peak = extreme(xp, x, 0)[0]
    weights = x * x
    wx = weights * x
    start = clamp(xp, nearest_int(xp, (float(-top) / peak) * x), -top, top - 1).astype(xp.float32)
    quants = [start[i] for i in range(x.shape[0])]
    num, den = ordered_sum(wx * start), ordered_sum(weights * start * start)
    for _ in range(5):
        for i, old in enumerate(quants):
            rest_num = num - wx[i] * old
            rest_den = den - weights[i] * old * old
            new = clamp(xp, nearest_int(xp, x[i] * rest_den / rest_num), -top, top - 1)
            new = new.astype(xp.float32)
            new_num = rest_num + wx[i] * new
            new_den = rest_den + weights[i] * new * new
            better = (rest_num > 0) & (new != old) & (new_den > 0)
            better = better & (new_num * new_num * den > num * num * new_den)
            quants[i] = xp.where(better, new, old)
            num, den = xp.where(better, new_num, num), xp.where(better, new_den, den)
    empty = xp.abs(peak) < SMALLEST
    scale = xp.where(empty, 0.0, xp.where(den > 0, num / den, 0.0))
    return scale, xp.where(empty, 0, xp.stack(quants, axis=0).astype(xp.int32) + top)


def _best_scale(
    xp: Any,
    weights: Array,
    inverses: Sequence[Array],
    *,
    value: Callable[[Array], Array],
    against: Callable[[Array], Array],
) -> tuple[Array, Array]:
    """Least squares scale of the best of some quantizations: (scale [g], its inverse in `inverses` [g]).

    `value` gives the numbers v that an inverse quantizes x to, `against` gives weights * x * v in the order of its
    caller's source.
    """
    chosen = inverses[0]
    v = value(chosen)
    num, den = ordered_sum(against(v)), ordered_sum(weights * v * v)
    scale = xp.where(den != 0, num / den, 0.0)
    best = scale * num
    for inverse in inverses[1:]:
        v = value(inverse)
        num, den = ordered_sum(against(v)), ordered_sum(weights * v * v)
        better = (den > 0) & (num * num > best * den)
        chosen = xp.where(better, inverse, chosen)
        scale = xp.where(better, num / den, scale)
        best = xp.where(better, scale * num, best)
    return scale, chosen


def _ladder(first: float, step: int, top: int) -> float:
    """first + 0.1 * step + top, in float32."""
    return f32(np.float32(first) + np.float32(0.1) * np.float32(step) + np.float32(top))
