"""Spans against the table of every change of an enum (enum_states.csv), which nothing is made from."""

import csv
from pathlib import Path

import pytest

from ggmlrpc_core.ggml.numbering import numbering
from ggmlrpc_core.wire.spans import spans
from ggmlrpc_core.wire.version import V

TEXT = (Path(__file__).parent / "enum_states.csv").read_text(encoding="utf-8")
STATES = [
    row
    for row in csv.DictReader(TEXT.splitlines())
    if row["version"] not in ("6.0.0", "7.0.0")  # without dates
]


def test_every_change_of_a_number_begins_a_span():
    starts = {(s.numbered_as, s.first) for s in spans() if not s.fork}
    before = None
    for row in STATES:
        counts = row["op_count"], row["unary_count"], row["glu_count"]
        # Types are only appended, so a type more begins no span; the two days of RELU change no count.
        if counts != before and row["version"] != "none":
            assert (row["version"], row["from_date"]) in starts
        before = counts


@pytest.mark.parametrize("row", STATES, ids=lambda r: f"{r['version']}@{r['from_date']}")
def test_counts_at_each_state(row):
    found = numbering(row["version"], row["from_date"])
    counts = {"op": len(found.ops), "unary": len(found.unary), "glu": len(found.glu)}
    # RELU was moved for two days, which left a hole; the count stayed.
    assert counts == {name: int(row[f"{name}_count"]) for name in counts}


def test_the_fork_comes_last_and_has_its_sizes():
    every = spans()
    forks = [s.fork for s in every]
    assert forks == sorted(forks)
    assert [s for s in every if s.max_src != 10] == [
        s for s in every if "/1" in s.label and "/10" not in s.label
    ]
    assert {s.version for s in every if s.fork} == {V(2, 0, 1), V(3, 5, 1), V(3, 5, 2)}


def test_a_proposal_is_no_span():
    assert not any("7.0.1" in s.label for s in spans())


def test_a_row_in_the_tables_makes_a_dialect(monkeypatch):
    """As docs/howto/add-a-version.md says: 7.0.1 is data."""
    from ggmlrpc_core.wire import dialects
    from ggmlrpc_core.wire import spans as module

    rows = module.read_table("versions")
    newer = [{**row} for row in rows if "proposal" not in row["version"]]
    at = next(i for i, row in enumerate(newer) if row["version"] == "7.0.0")
    newer.insert(at + 1, {**newer[at], "version": "7.0.1", "first_date": "2026-10-20"})
    dates = {*module.numbering_dates(), ("7.0.1", "2026-11-01")}
    monkeypatch.setattr(module, "read_table", lambda name: newer)
    monkeypatch.setattr(module, "numbering_dates", lambda: dates)
    found = [s for s in module.spans() if s.label.startswith("7.0")]
    assert [(s.label, s.first, s.end) for s in found] == [
        ("7.0.0", "2026-09-11", "2026-10-20"),
        ("7.0.1", "2026-10-20", "2026-11-01"),
        ("7.0.1", "2026-11-01", ""),
    ]
    made = dialects._made(found[-1], dated=True)
    assert (made.name, made.version) == ("7.0.1@2026-11-01", V(7, 0, 1))
    assert made.numbering.ops == numbering("7.0.0").ops
    assert made.form == dialects.dialect("7.0.0").form
