"""Protocol versions, and values that depend on one.

This package is the only one that compares versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class ProtocolVersion(NamedTuple):
    """The HELLO triple. Eras before HELLO are 0.1 (A) to 0.5 (E)."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


V = ProtocolVersion

ERA_A, ERA_B, ERA_C, ERA_D, ERA_E = (V(0, era) for era in range(1, 6))
"""Wire states before HELLO existed (2024-05-14, 05-20, 06-15, 2025-01-04, 03-28)."""


class ByVersion(Generic[T]):
    """A value that changed: {first version: value}, read with `at(version)`."""

    def __init__(self, values: Mapping[ProtocolVersion, T]) -> None:
        self.values = dict(sorted(values.items()))

    def at(self, version: ProtocolVersion) -> T | None:
        """The value in force: that of the highest version not above the one asked; None before the first."""
        found: Any = None
        for first, value in self.values.items():
            if first > version:
                break
            found = value
        return found
