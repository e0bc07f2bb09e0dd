"""Write elements into a flat array without writing into it: the new array, which MLX makes in place where it can."""

from __future__ import annotations

from typing import Any

import numpy as np


def assign(mx: Any, flat: Any, values: Any, strides: tuple[int, ...], offset: int) -> Any:
    """`flat` with the elements of `values` at offset + sum(index * stride).

    Args:
        mx: the module mlx.core.
        flat: one dimension.
        values: of the dtype of `flat`.
        strides: in elements, one per dimension of `values`; that of an extent of 1 is not looked at.
        offset: in elements.
    """
    shape = tuple(values.shape)
    if dense(shape, strides):
        new = flat.reshape(-1)
        count = int(np.prod(shape, dtype=np.int64))
        new[offset : offset + count] = values.reshape(-1)
        return new
    found = window(flat.shape[0], shape, strides, offset)
    if found is not None:
        extents, places, order = found
        new = flat.reshape(extents)
        single = [d for d in range(len(shape)) if d not in order]
        new[places] = values.transpose(order + single).reshape([shape[d] for d in order])
        return new.reshape(-1)
    new = flat.reshape(-1)
    new[mx.array(element_numbers(shape, strides, offset))] = values.reshape(-1)
    return new


def dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie in order without gaps."""
    expected = 1
    for n, stride in zip(reversed(shape), reversed(strides)):
        if n > 1 and stride != expected:
            return False
        expected *= n
    return True


def window(
    total: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> tuple[tuple[int, ...], tuple[Any, ...], list[int]] | None:
    """Strided elements of a flat array as a box in some extents of it.

    Returns:
        (extents, one slice or number for each of them, dimensions of `shape` in the order of the slices), or None when
        the elements are no box.
    """
    order = sorted((d for d, n in enumerate(shape) if n > 1), key=lambda d: -strides[d])
    extents: list[int] = []
    places: list[Any] = []
    outer, rest = total, offset
    for d in order:
        stride = strides[d]
        if stride <= 0 or outer % stride:
            return None
        start, rest = divmod(rest, stride)
        extents.append(outer // stride)
        places.append(slice(start, start + shape[d]))
        if start + shape[d] > extents[-1]:
            return None
        outer = stride
    if outer > 1:
        extents.append(outer)
        places.append(rest)
    return tuple(extents), tuple(places), order


def element_numbers(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> np.ndarray:
    """The place of every element in the flat array, int32 or int64, flat."""
    at = np.full((1,) * len(shape), offset, np.int64)
    for d, (n, stride) in enumerate(zip(shape, strides)):
        at = at + np.arange(n).reshape([-1 if e == d else 1 for e in range(len(shape))]) * stride
    at = at.reshape(-1)
    return at.astype(np.int32) if at.size and at.max() < 2**31 else at
