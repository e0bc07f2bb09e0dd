"""Small shape rules that several ops share, over all nodes of one op at once.

A rule takes Nodes, calls `require` and returns nothing. It must not look at tensor data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ggmlrpc_core.graph.table import Columns, Nodes

Rule = Callable[[Nodes], None]


def all_of(*rules: Rule) -> Rule:
    """A rule that asks each of the given ones, in order."""

    def check(c: Nodes) -> None:
        for rule in rules:
            rule(c)

    return check


def divides(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """bool: large is a multiple of small, and small is not 0."""
    return (small > 0) & (large % np.maximum(small, 1) == 0)


def same_shape(c: Nodes) -> None:
    """The node has the extents of source 0."""
    c.require((c.ne == c.src(0).ne).all(axis=1), "ne", c.ne, "src[0].ne")


def same_sources(c: Nodes) -> None:
    """Sources 0 and 1 have equal extents."""
    a, b = c.src(0), c.src(1)
    c.require((a.ne == b.ne).all(axis=1), "src[1].ne", b.ne, "src[0].ne")


def same_nelements(c: Nodes) -> None:
    """The node has as many elements as source 0."""
    s = c.src(0)
    c.require(c.nelements == s.nelements, "ne", c.ne, "as many elements as src[0]")


def tiles(c: Nodes) -> None:
    """Source 1 can be repeated to the extents of source 0."""
    a, b = c.src(0), c.src(1)
    c.require(divides(b.ne, a.ne).all(axis=1), "src[1].ne", b.ne, "extents that divide src[0].ne")


def result_ne(c: Nodes, expected: tuple[np.ndarray | int, ...], rule: str) -> None:
    """The node has these four extents; numbers stand for every node."""
    ok = np.ones(len(c.rows), bool)
    for d, extent in enumerate(expected):
        ok &= c.ne[:, d] == extent
    c.require(ok, "ne", c.ne, rule)


def contiguous(*slots: int) -> Rule:
    """The sources in these slots have no gaps; an absent source passes."""

    def check(c: Nodes) -> None:
        for slot in slots:
            s = c.src(slot)
            if not s.present.any():
                continue
            c.require(s.contiguous | ~s.present, f"src[{slot}].nb", s.nb, "strides without gaps")

    return check


def rows_contiguous(*slots: int) -> Rule:
    """The sources in these slots have no gaps inside a row; an absent source passes."""

    def check(c: Nodes) -> None:
        for slot in slots:
            s = c.src(slot)
            c.require(
                s.rows_contiguous | ~s.present,
                f"src[{slot}].nb[0]",
                s.nb[:, 0],
                "rows without gaps",
            )

    return check


def f32_at_least(slot: int, name: str, lowest: float) -> Rule:
    """The float parameter in a slot is a number not below `lowest`."""

    def check(c: Nodes) -> None:
        value = c.f32(slot)
        c.require(value >= lowest, name, value, f"at least {lowest:g}")

    return check


def extent(
    c: Nodes, s: Columns, what: str, *, dim: int, equals: np.ndarray | int, rule: str
) -> None:
    """One extent of a source has an exact value; an absent source passes."""
    ok = (s.ne[:, dim] == equals) | ~s.present
    c.require(ok, f"{what}.ne[{dim}]", s.ne[:, dim], rule)
