"""What each dialect changed, and which releases of packages speak it: for lists that people read.

Changes are found by comparing a dialect with the one before it (differences.py, meanings.py). Releases are in
ggml/data/shipped.csv: those whose sources were read, not all that there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from ggmlrpc_core.ggml.types import read_table
from ggmlrpc_core.wire.dialects import Dialect, dialect, dialect_names, fork_names
from ggmlrpc_core.wire.differences import differences
from ggmlrpc_core.wire.meanings import MEANINGS


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a package that carries llama.cpp's sources."""

    package: str
    release: str
    date: str

    def __str__(self) -> str:
        return f"{self.package} {self.release}"


def releases(of: Dialect) -> list[Release]:
    """Releases that are known to speak a dialect, oldest first."""
    return [
        Release(row["package"], row["release"], row["date"])
        for row in read_table("shipped")
        if row["dialect"] == of.name
    ]


def before(one: Dialect) -> Dialect | None:
    """The dialect before, of the same tree; None for the first."""
    names = fork_names() if one.fork else dialect_names()
    at = names.index(one.name)
    return dialect(names[at - 1]) if at else None


def changes(one: Dialect) -> list[str]:
    """What differs from the dialect before, framing first; empty for the first of a tree."""
    old = before(one)
    if old is None:
        return []
    found = [difference.text for difference in differences(old, one)]
    if one.compute_flag and not old.compute_flag:
        found.append("nodes to be computed have flag 16")
    if one.foreign_data_is_zero and not old.foreign_data_is_zero:
        found.append("tensors of other servers have address 0")
    if not one.fork:
        found += _meanings(old, one)
    return found


def _meanings(old: Dialect, new: Dialect) -> list[str]:
    """Ops that changed their form, those with the same change together."""
    found: dict[str, list[str]] = {}
    for row in MEANINGS:
        if old.shipped < row.until <= new.shipped:
            found.setdefault(row.what, []).append(row.op)
    return [f"{', '.join(ops)} changed (before: {what})" for what, ops in found.items()]
