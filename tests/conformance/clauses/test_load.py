"""The specification: ids that last, reasons for every MUST, and cases for every clause that can have one."""

import re

import pytest
from ggmlrpc_conformance.clauses import clauses, pages
from ggmlrpc_conformance.clauses.load import parse_page, version_of
from ggmlrpc_conformance.library import all_cases

from ggmlrpc_core.wire.commands import COMMANDS
from ggmlrpc_core.wire.version import V

NO_CASE_YET: dict[str, str] = {}
"""Clauses of servers that a case should show a breach of, and none does: reasons. Strict both ways."""


def cited():
    return {clause for case in all_cases().values() for clause in case.clauses}


def test_ids_of_a_prefix_are_one_to_n_without_a_gap():
    """A gap would be a clause that was deleted, whose id somebody has quoted."""
    numbers: dict[str, list[int]] = {}
    for clause_id in clauses():
        prefix, _, number = clause_id.partition("-")
        numbers.setdefault(prefix, []).append(int(number))
    for prefix, found in numbers.items():
        assert found == list(range(1, len(found) + 1)), prefix


def test_a_prefix_is_on_one_page():
    homes = {(c.id.partition("-")[0], c.page) for c in clauses().values()}
    assert len(homes) == len({prefix for prefix, _ in homes})


@pytest.mark.parametrize("clause", clauses().values(), ids=lambda c: c.id)
def test_a_clause_says_what_why_and_where_from(clause):
    assert clause.text.endswith((".", ")"))
    assert clause.why.endswith((".", ")"))
    assert not clause.source.endswith(".")
    if clause.level == "MUST":
        # A file of upstream, and the versions in which it was read.
        assert re.search(r"\w+\.(cpp|c|h)\b", clause.source), clause.source
        assert (
            "@" in clause.source or "at each version" in clause.source or "before" in clause.source
        )
    if clause.since and clause.before:
        assert version_of(clause.since) < version_of(clause.before)


def test_words_of_rfc_2119_are_the_level_and_not_in_the_text():
    for clause in clauses().values():
        assert not re.search(r"\b(MUST|SHOULD|MAY|SHALL)\b", clause.text), clause.id


def test_clauses_that_a_text_names_exist():
    for clause in clauses().values():
        for named in re.findall(
            r"\b[A-Z]+-[1-9]\d*\b", clause.text + clause.why + (clause.untested or "")
        ):
            prefix = named.partition("-")[0]
            if prefix not in ("CVE", "GHSA", "FNV", "RFC"):
                assert named in clauses(), f"{clause.id} names {named}"


def test_every_command_has_a_clause():
    named = {name for clause in clauses().values() for name in clause.commands}
    assert set(COMMANDS) <= named


def test_every_id_that_a_case_cites_exists():
    assert cited() <= set(clauses())


def test_every_clause_of_servers_has_a_case_or_a_reason():
    due = {
        c.id
        for c in clauses().values()
        if c.role != "client" and c.level != "MAY" and c.untested is None and c.withdrawn is None
    }
    assert due - cited() == set(NO_CASE_YET)


def test_clauses_that_cannot_be_tested_are_not_cited():
    assert {c.id for c in clauses().values() if c.untested or c.withdrawn} & cited() == set()


def test_bounds():
    clause = clauses()["GRAPH-13"]  # before 3.5.0
    assert clause.applies_to(V(3, 0))
    assert not clause.applies_to(V(3, 5))
    assert clauses()["SIZE-1"].applies_to(version_of("none-D"))
    assert not clauses()["SIZE-1"].applies_to(version_of("none-C"))
    with pytest.raises(ValueError, match="expected an era"):
        version_of("seven")


GOOD = """
title = "T"
intro = "i"
[[clause]]
id = "X-1"
level = "MUST"
text = "A."
why = "B."
source = "c.cpp @ 1"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('level = "MUST"', 'level = "must"', "level or role"),
        ('id = "X-1"', 'id = "x1"', "letters, a hyphen"),
        ('why = "B."', "", "fields are not as expected: why"),
        ('why = "B."', 'why = "B."\nwhen = "now"', "fields are not as expected: when"),
        ('why = "B."', 'why = "B."\ncommands = ["SET"]', "names of commands"),
        ('why = "B."', 'why = "B."\nsince = "7"', "expected an era"),
    ],
)
def test_a_file_with_a_mistake_is_refused(old, new, message):
    assert parse_page("t", GOOD).clauses[0].role == "server"
    with pytest.raises(ValueError, match=message):
        parse_page("t", GOOD.replace(old, new))


def test_pages_are_in_the_order_of_reading():
    assert [page.name for page in pages()][:3] == ["framing", "connection", "negotiation"]
