"""Version rules of HELLO."""

from __future__ import annotations

import pytest

from ggmlrpc_core.wire.dialects import dialect, newest
from ggmlrpc_core.wire.handshake import (
    announced_labels,
    announcing,
    hello_forms,
    may_speak,
    nearest,
    stock_client_accepts,
)
from ggmlrpc_core.wire.version import V


@pytest.mark.parametrize(
    ("ours", "announced", "accepts"),
    [
        (V(7, 0, 0), V(7, 0, 9), True),
        (V(5, 1, 0), V(5, 0, 0), True),
        (V(5, 0, 0), V(5, 1, 0), False),
        (V(6, 0, 0), V(7, 0, 0), False),
        (V(7, 0, 0), V(6, 9, 0), False),
    ],
)
def test_stock_rule(ours, announced, accepts):
    assert stock_client_accepts(ours, announced) is accepts


@pytest.mark.parametrize(
    ("name", "announced", "may"),
    [
        ("5.1.0", V(5, 1), True),
        ("5.1.0", V(5, 0), True),
        ("5.0.0", V(5, 1), False),
        ("7.0.0", V(7, 0, 1), True),
        ("7.0.0", V(8, 0), False),
        ("4.0.0", V(4, 0, 3), False),
        ("3.5.0", V(3, 0), False),
        ("2.0.0@2025-08-05", V(2, 0), True),
        ("ik-3.5.2/16src", V(3, 5, 2), True),
    ],
)
def test_what_a_client_may_insist_on(name, announced, may):
    assert may_speak(dialect(name), announced) is may


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (V(5, 1, 0), ["5.1.0"]),
        (V(3, 6, 0), ["3.6.0@2025-12-05", "3.6.0@2026-01-19", "3.6.0@2026-03-07"]),
        (V(3, 5, 2), None),
        (V(7, 0, 1), []),
        (V(8, 0, 0), []),
        (V(0, 1, 0), []),
    ],
)
def test_states_that_announce_a_version(version, names):
    found = [d.name for d in announcing(version)]
    if names is not None:
        assert found == names
    else:
        sizes = {d.max_src for d in announcing(version)}
        assert sizes == {10, 12, 16}
        assert all(name.startswith("ik-3.5.2/") for name in found)


def test_nine_op_numberings_hide_behind_2_0_0():
    orders = {tuple(d.numbering.ops.items()) for d in announcing(V(2, 0))}
    renumbered = {tuple(sorted(d.numbering.ops.values())) for d in announcing(V(2, 0))}
    assert len(renumbered) == 9
    assert len(orders) == 9


def test_labels_are_those_that_dialect_knows():
    labels = announced_labels()
    assert labels[0] == "1.0.0"
    assert "7.0.0" in labels
    assert "ik-3.5.1" in labels
    assert not any(label.startswith("none") for label in labels)
    assert all(dialect(label).label == label for label in labels)


def test_forms_of_hello_start_with_the_newest():
    forms = hello_forms()
    assert forms[0] is newest()
    assert [form.by_name["HELLO"].request.size for form in forms] == [24, 0]


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (V(7, 0, 1), "7.0.0"),
        (V(6, 0, 4), "6.0.0"),
        (V(4, 0, 9), "4.0.3"),
        (V(3, 1, 0), "3.6.1"),
        (V(8, 0, 0), None),
        (V(0, 5, 0), None),
    ],
)
def test_what_could_be_spoken_to_an_unknown_version(version, name):
    near = nearest(version)
    assert (near and near.name) == name
