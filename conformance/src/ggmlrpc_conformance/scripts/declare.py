"""How a case is written as a function: id and clauses by decorator, the title is the first line of the docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ggmlrpc_conformance.case import Body, Case, flags_of


def scripted(id: str, *clauses: str, **flags: Any) -> Callable[[Body], Case]:
    """Make a case of a function of a Context.

    Args:
        id: permanent.
        clauses: the first decides the level.
        flags: fields of Case, as in a case file.
    """

    def declare(body: Body) -> Case:
        title = inspect.getdoc(body)
        assert title, f"{id} has no docstring"
        return Case(
            id=id,
            title=title.splitlines()[0].rstrip("."),
            clauses=clauses,
            body=body,
            **flags_of(flags),  # type: ignore[arg-type]
        )

    return declare
