"""Ids and numbers of cases are permanent, and every case can be read."""

from __future__ import annotations

import re

from ggmlrpc_conformance.case import SECONDS
from ggmlrpc_conformance.library import UNNUMBERED, all_cases, clause_levels, numbers_table


def test_every_case_has_a_permanent_number() -> None:
    assert [c.id for c in all_cases().values() if c.number == UNNUMBERED] == []


def test_numbers_are_unique_and_rise() -> None:
    numbers = [int(row["number"][1:]) for row in numbers_table()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({row["id"] for row in numbers_table()}) == len(numbers)


def test_no_case_vanishes_without_a_word() -> None:
    """A case that is taken out keeps its line, marked as withdrawn."""
    live = {row["id"] for row in numbers_table() if not row["withdrawn"]}
    assert live - set(all_cases()) == set()


def test_ids_are_plain() -> None:
    for case in all_cases().values():
        assert re.fullmatch(r"[a-z]+(\.[a-z0-9_.-]+)+", case.id), case.id


def test_cases_are_complete() -> None:
    levels = clause_levels()
    for case in all_cases().values():
        assert case.level is levels[case.clauses[0]], case.id
        assert case.timeout in SECONDS
        assert case.title and not case.title.endswith("."), case.id


def test_sanity_is_first_and_last() -> None:
    ids = list(all_cases())
    assert (ids[0], ids[-1]) == ("meta.sanity-first", "meta.sanity-last")
