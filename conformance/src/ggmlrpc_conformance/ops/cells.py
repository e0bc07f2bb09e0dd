"""Cells of op and type that the cases of ggmlrpc_core.testing leave out."""

from __future__ import annotations

from collections.abc import Iterator

from ggmlrpc_core.testing.inputs import Case


def cell_cases() -> Iterator[Case]:
    """One case for each."""
    yield from ()
