"""Cases that are written as functions, because they need several clients at once, faults or measurements."""

from __future__ import annotations

from collections.abc import Iterator

from ggmlrpc_conformance.case import Case
from ggmlrpc_conformance.scripts import cache, conc, fault, limit, meta, space


def scripted_cases() -> Iterator[Case]:
    """All of them."""
    for module in (meta, space, cache, conc, fault, limit):
        yield from module.CASES
