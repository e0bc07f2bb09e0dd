"""What a random node is made of, and how choices are drawn."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ggmlrpc_core.ggml.types import TYPES


class Draw(Protocol):
    """Choices; the first of `pick` and the lowest `int` are the simplest."""

    def int(self, low: int, high: int) -> int: ...

    def pick(self, *options: Any) -> Any: ...


class RandomDraw:
    """Choices of a seeded generator.

    Args:
        seed: of the generator.
        simple: how often `pick` gives the first option whatever the others are.
    """

    def __init__(self, seed: int, *, simple: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._simple = simple

    def int(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def pick(self, *options: Any) -> Any:
        if self._simple and self._random.random() < self._simple:
            return options[0]
        return self._random.choice(options)


class HypothesisDraw:
    """Choices of hypothesis; `draw` is what st.data() gives."""

    def __init__(self, data: Any) -> None:
        from hypothesis import strategies as st

        self._data, self._st = data, st

    def int(self, low: int, high: int) -> int:
        return self._data.draw(self._st.integers(low, high))

    def pick(self, *options: Any) -> Any:
        return self._data.draw(self._st.sampled_from(options))


@dataclass(frozen=True)
class Source:
    """A source.

    Attributes:
        type, ne: of the tensor.
        data: what it holds, in NumPy order; None for normally distributed numbers.
        special: infinities and NaN may be placed in it.
    """

    type: str
    ne: tuple[int, ...]
    data: np.ndarray | None = None
    special: bool = True


@dataclass(frozen=True)
class Form:
    """A node to be made.

    Attributes:
        src: None where a slot is empty.
        within: the source that the node is a view of (CPY, SET_ROWS, optimizer steps); None for memory of its own.
        inplace: the node may be a view of source 0.
        nmse: bound against the float64 evaluation; None for that of the type.
    """

    op: str
    type: str
    ne: tuple[int, ...]
    src: Sequence[Source | None]
    params: Mapping[int, int | float] = field(default_factory=dict)
    within: int | None = None
    inplace: bool = False
    nmse: float | None = None


def extents(d: Draw, high: int = 4, *, block: int = 1, dims: int = 4) -> tuple[int, ...]:
    """Four extents in [1, high]; the first in blocks, those from `dims` on 1."""
    drawn = [d.int(1, high) if axis < dims else 1 for axis in range(4)]
    return (drawn[0] * block, *drawn[1:])


def divisors(d: Draw, ne: Sequence[int], first: int = 0) -> tuple[int, ...]:
    """Extents that divide those of `ne` from dimension `first` on."""
    return tuple(
        n if axis < first else d.pick(*[k for k in range(1, n + 1) if n % k == 0])
        for axis, n in enumerate(ne)
    )


def ids(d: Draw, limit: int, *ne: int, type: str = "I32", distinct: bool = False) -> Source:
    """Ids in [0, limit)."""
    rng = np.random.default_rng(d.int(0, 1 << 30))
    shape = (*ne, *(1,) * (4 - len(ne)))[::-1]
    if distinct:
        drawn = [rng.permutation(limit)[: ne[0]] for _ in range(int(np.prod(ne[1:])))]
        return Source(type, tuple(ne), np.array(drawn).reshape(shape))
    return Source(type, tuple(ne), rng.integers(0, limit, shape))


def block_of(name: str) -> int:
    """Elements of a block."""
    return TYPES[name].blck_size
