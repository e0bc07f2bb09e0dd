"""All cases: those of the files, those written as functions, and those of the op table, with number and level.

Permanent numbers are in cases/numbers.csv, the levels of clauses in clauses/. Reading is done once.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import resources
from types import MappingProxyType
from typing import Any

from ggmlrpc_conformance.case import Case, flags_of
from ggmlrpc_conformance.results import Level
from ggmlrpc_conformance.steps import run_steps

UNNUMBERED = "C-"


@cache
def all_cases() -> MappingProxyType[str, Case]:
    """Every case by id, in the order of running.

    Raises:
        ValueError: two cases have one id, or a case cites a clause that does not exist.
    """
    numbers = {row["id"]: row["number"] for row in numbers_table() if not row["withdrawn"]}
    levels = clause_levels()
    found: dict[str, Case] = {}
    for case in _unnumbered():
        if case.id in found:
            raise ValueError(f"two cases are called {case.id}")
        missing = [clause for clause in case.clauses if clause not in levels]
        if missing or not case.clauses:
            raise ValueError(f"{case.id} cites {missing or 'no clause'}, expected known clauses")
        found[case.id] = case.numbered(numbers.get(case.id, UNNUMBERED), levels[case.clauses[0]])
    return MappingProxyType(found)


def _unnumbered() -> Iterator[Case]:
    from ggmlrpc_conformance.ops.cases import op_cases
    from ggmlrpc_conformance.recorded import session_cases
    from ggmlrpc_conformance.scripts import scripted_cases

    cases = [*file_cases(), *op_cases(), *session_cases(), *scripted_cases()]
    yield from sorted(cases, key=lambda case: _place(case.id, case.area))


ORDER = ("wire", "cmd", "state", "graph", "op", "session", "conc", "fault", "limit", "leak", "bad")


def _place(case_id: str, area: str) -> int:
    """Sanity first and last, what may end a server late; within an area as written."""
    if area == "meta":
        return -1 if case_id.endswith("-first") else len(ORDER)
    return ORDER.index(area)


@cache
def clause_levels() -> MappingProxyType[str, Level]:
    """The level of every clause by id."""
    folder = resources.files(__package__).joinpath("clauses")
    return MappingProxyType(
        {
            clause["id"]: Level(clause["level"])
            for entry in sorted(folder.iterdir(), key=lambda e: e.name)
            if entry.name.endswith(".toml")
            for clause in tomllib.loads(entry.read_text(encoding="utf-8"))["clause"]
        }
    )


@cache
def numbers_table() -> list[dict[str, str]]:
    """Rows of number, id and, for a case that was taken out, since when."""
    entry = resources.files(__package__).joinpath("cases", "numbers.csv")
    return list(csv.DictReader(entry.read_text(encoding="utf-8").splitlines()))


def file_cases() -> Iterator[Case]:
    """The cases of cases/*.toml."""
    folder = resources.files(__package__).joinpath("cases")
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            yield from cases_of(tomllib.loads(entry.read_text(encoding="utf-8")))


def cases_of(data: Mapping[str, Any]) -> Iterator[Case]:
    """The cases of one file; `default` holds what its cases have in common, `each` makes several of one."""
    common = data.get("default", {})
    for entry in data["case"]:
        for values in entry.get("each", [{}]):
            filled = _filled({**common, **{k: v for k, v in entry.items() if k != "each"}}, values)
            filled.update({k: v for k, v in values.items() if k in ("since", "before", "tier")})
            yield Case(
                id=filled["id"].lower(),
                title=filled["title"],
                clauses=tuple(filled["clauses"]),
                body=partial(_body, steps=tuple(filled["steps"])),
                **flags_of(filled),  # type: ignore[arg-type]
            )


def _body(ctx: Any, *, steps: Iterable[Mapping[str, Any]]) -> Any:
    return run_steps(ctx, list(steps))


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Text with `{key}` replaced; text that is nothing but `{key}` becomes the value itself."""
    if isinstance(value, str):
        if value[:1] == "{" and value[-1:] == "}" and value[1:-1] in values:
            return values[value[1:-1]]
        for key, replacement in values.items():
            value = value.replace("{" + key + "}", str(replacement))
        return value
    if isinstance(value, list):
        return [_filled(v, values) for v in value]
    if isinstance(value, dict):
        return {k: _filled(v, values) for k, v in value.items()}
    return value
