"""Cases that are written as functions, because they need several clients at once, faults or measurements."""

from __future__ import annotations

from collections.abc import Iterator

from ggmlrpc_conformance.case import Case


def scripted_cases() -> Iterator[Case]:
    """All of them."""
    yield from ()
