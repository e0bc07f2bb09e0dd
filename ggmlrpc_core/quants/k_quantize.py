"""The K types, quantizing; the layouts are in k.py, the searches for scales in search.py.

Each encoder has three steps: find a scale for every group, quantize those scales, quantize the elements with the scales
as they will be read back. Quants of the search stay only where the scale that comes back is 0.

Source: ggml-quants.c quantize_row_q*_K_ref.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.quants import search
from ggmlrpc_core.quants.bits import (
    Array,
    clamp,
    contiguous,
    extreme,
    join,
    nearest_int,
    ordered_sum,
    pack,
)


def quantize_q2_k(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 84]."""
    n = x.shape[0]
    columns = _groups(xp, x, 16)
    scale, offset, q = search.affine(
        xp, columns, xp.abs(columns), top=3, first=-0.5, steps=15, absolute=True
    )
    d, s = _shared(xp, scale.reshape(n, 16), 15)
    dmin, m = _shared(xp, offset.reshape(n, 16), 15)
    dl, ml = _read_back(xp, d, s & 15), _read_back(xp, dmin, m & 15)
    q = _requantize(xp, x, dl, ml, _rows(q, n), 3)
    return join(xp, [(s | (m << 4)).astype(xp.uint8), pack(xp, q, groups=2, bits=2), d, dmin])


def quantize_q3_k(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 110]."""
    n = x.shape[0]
    scale, q = search.descent(xp, _groups(xp, x, 16), 4)
    scale = scale.reshape(n, 16)
    peak = extreme(xp, scale, 1)
    inverse = -32.0 / peak
    d = xp.where(peak != 0, 1.0 / inverse, 0.0).astype(xp.float16)
    # Where all scales are 0 the field stays 0, which reads as -32, with d = 0.
    s = clamp(xp, nearest_int(xp, inverse * scale), -32, 31)
    s = xp.where(peak != 0, s + 32, 0)
    q = _requantize_signed(xp, x, _read_back(xp, d, s - 32), _rows(q, n), 4)
    return join(
        xp,
        [
            pack_planes(xp, q >> 2),
            pack(xp, q & 3, groups=2, bits=2),
            pack(xp, s & 15, groups=1, bits=4),
            pack(xp, s >> 4, groups=1, bits=2),
            d,
        ],
    )


def quantize_q4_k(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 144]."""
    head, q = _six_bit_scales(xp, x, top=15, first=-1.0, steps=20)
    return join(xp, [*head, pack(xp, q, groups=4, bits=4)])


def quantize_q5_k(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 176]."""
    head, q = _six_bit_scales(xp, x, top=31, first=-0.5, steps=15)
    return join(xp, [*head, pack_planes(xp, q >> 4), pack(xp, q & 15, groups=4, bits=4)])


def quantize_q6_k(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 210]."""
    n = x.shape[0]
    scale, q = search.symmetric(xp, _groups(xp, x, 16), 32)
    scale = scale.reshape(n, 16)
    peak = extreme(xp, scale, 1)
    empty = xp.abs(peak) < search.SMALLEST
    inverse = -128.0 / peak
    d = xp.where(empty, 0.0, 1.0 / inverse).astype(xp.float16)
    s = xp.where(empty, 0, xp.minimum(nearest_int(xp, inverse * scale), 127))
    q = _requantize_signed(xp, x, _read_back(xp, d, s), _rows(q, n), 32)
    q = xp.where(empty, 0, q)
    return join(
        xp,
        [
            pack(xp, q & 15, groups=2, bits=4),
            pack(xp, q >> 4, groups=2, bits=2),
            s.astype(xp.int8),
            d,
        ],
    )


def quantize_q8_k(xp: Any, x: Array) -> Array:
    """float32 [n, 256] to [n, 292]; a block of zeros has zero sums (the stock code leaves them unwritten)."""
    n = x.shape[0]
    peak = extreme(xp, x, 1)
    inverse = -127.0 / peak
    q = xp.where(peak != 0, xp.minimum(nearest_int(xp, inverse * x), 127), 0)
    d = xp.where(peak != 0, 1.0 / inverse, 0.0)
    sums = xp.sum(q.reshape(n, 16, 16), axis=2)
    return join(xp, [d, q.astype(xp.int8), sums.astype(xp.int16)])


def pack_planes(xp: Any, bits: Array) -> Array:
    """Element 32 b + i becomes bit b of byte i: 0 or 1 [n, 256] to uint8 [n, 32]."""
    return pack(xp, bits, groups=1, bits=1)


def _six_bit_scales(
    xp: Any, x: Array, *, top: int, first: float, steps: int
) -> tuple[list[Array], Array]:
    """What Q4_K and Q5_K share: ([d, dmin, packed scales], quants [n, 256])."""
    n = x.shape[0]
    columns = _groups(xp, x, 32)
    mean = xp.sqrt(ordered_sum(columns * columns) / 32)
    scale, offset, q = search.affine(
        xp, columns, mean + xp.abs(columns), top=top, first=first, steps=steps, absolute=False
    )
    d, s = _shared(xp, scale.reshape(n, 8), 63)
    dmin, m = _shared(xp, offset.reshape(n, 8), 63)
    s, m = xp.minimum(s & 255, 63), xp.minimum(m & 255, 63)
    q = _requantize(xp, x, _read_back(xp, d, s), _read_back(xp, dmin, m), _rows(q, n), top)
    packed = [
        s[:, :4] | ((s[:, 4:] >> 4) << 6),
        m[:, :4] | ((m[:, 4:] >> 4) << 6),
        (s[:, 4:] & 15) | ((m[:, 4:] & 15) << 4),
    ]
    return [d, dmin, xp.concatenate(packed, axis=1).astype(xp.uint8)], q


def _groups(xp: Any, x: Array, size: int) -> Array:
    """Groups of `size` elements as columns: [n, 256] to [size, n * 256 / size]."""
    return contiguous(xp, x.reshape(-1, size).T)


def _rows(q: Array, n: int) -> Array:
    """Undo `_groups`: [n, 256]."""
    return q.T.reshape(n, -1)


def _shared(xp: Any, scales: Array, top: int) -> tuple[Array, Array]:
    """Quantize the scales of a block with a common one: (float16 [n, 1], int32 [n, g] up to `top`)."""
    peak = xp.maximum(xp.max(scales, axis=1, keepdims=True), 0.0)
    inverse = xp.where(peak > 0, top / peak, 0.0)
    return (peak / top).astype(xp.float16), nearest_int(xp, inverse * scales)


def _read_back(xp: Any, d: Array, scales: Array) -> Array:
    """The scales of a block as a reader sees them: float32 [n, g]."""
    return d.astype(xp.float32) * scales.astype(xp.float32)


def _requantize(xp: Any, x: Array, dl: Array, ml: Array, q: Array, top: int) -> Array:
    """Quants for x = dl * q - ml, in 0..top; `q` where dl is 0."""
    n = x.shape[0]
    groups = x.reshape(n, dl.shape[1], -1)
    new = nearest_int(xp, (groups + ml[:, :, None]) / dl[:, :, None])
    return _where_scaled(xp, dl, clamp(xp, new, 0, top), q)


def _requantize_signed(xp: Any, x: Array, dl: Array, q: Array, top: int) -> Array:
    """Quants for x = dl * (q - top), in 0..2 top - 1; `q` where dl is 0."""
    n = x.shape[0]
    new = nearest_int(xp, x.reshape(n, dl.shape[1], -1) / dl[:, :, None])
    return _where_scaled(xp, dl, clamp(xp, new, -top, top - 1) + top, q)


def _where_scaled(xp: Any, dl: Array, new: Array, q: Array) -> Array:
    """`new` [n, g, m] where the scale of the group is not 0, else `q`: [n, 256]."""
    n = dl.shape[0]
    return xp.where(dl[:, :, None] != 0, new, q.reshape(new.shape)).reshape(n, -1)
