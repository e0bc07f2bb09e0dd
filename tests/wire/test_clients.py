"""Who stays when a server announces a version."""

import pytest

from ggmlrpc_core.wire.clients import (
    before_hello,
    clients_of,
    foreign_hellos,
    forms_of,
    groups,
    offers,
    states_of_forms,
)
from ggmlrpc_core.wire.dialects import dialect
from ggmlrpc_core.wire.version import V


def labels(dialects):
    return list(dict.fromkeys(d.label for d in dialects))


IK_35 = ["ik-3.5.2/16src", "ik-3.5.2/12src", "ik-3.5.2/10src", "ik-3.5.1"]


@pytest.mark.parametrize(
    ("name", "stay"),
    [
        ("7.0.0", ["7.0.0"]),
        ("6.0.0", ["6.0.0"]),
        ("5.1.0", ["5.1.0"]),
        ("5.0.0", ["5.1.0", "5.0.0"]),
        ("4.0.1", ["4.0.3", "4.0.2", "4.0.1", "4.0.0"]),
        ("3.6.1", ["3.6.1", "3.6.0"]),
        ("3.5.0", ["3.6.1", "3.6.0", "3.5.0", *IK_35]),
        ("3.0.0", ["3.6.1", "3.6.0", "3.5.0", "3.0.0", *IK_35]),
        ("ik-3.5.2", ["3.6.1", "3.6.0", "3.5.0", *IK_35]),
        ("2.0.0", ["2.0.0", "ik-2.0.1"]),
        ("1.0.0", ["1.0.0"]),
        ("none-A", ["none-E", "none-D", "none-C", "none-B", "none-A"]),
    ],
)
def test_who_stays(name, stay):
    assert labels(clients_of(dialect(name))) == stay


def test_lengths_tell_forms_apart():
    forms = [d.name for d in forms_of(dialect("3.5.0"))]
    assert forms[0] == "3.5.0"
    assert {"3.5.0/name128", "3.6.1", "3.6.1/name128", "ik-3.5.2/12src"} <= set(forms)
    assert len({d.form for d in forms_of(dialect("3.5.0"))}) == len(forms)
    assert [d.name for d in forms_of(dialect("5.0.0"))] == ["5.0.0", "5.0.0/name128"]
    assert [d.name for d in forms_of(dialect("7.0.0/name128"))] == ["7.0.0/name128", "7.0.0"]


def test_the_two_layouts_of_296_bytes_are_two_forms():
    a, c = dialect("none-A"), dialect("none-C")
    assert a.tensor.size == c.tensor.size == 296
    assert a.form != c.form
    assert {"none-A", "none-B", "none-C", "none-D", "none-E"} <= set(labels(forms_of(c)))


def test_states_behind_forms():
    three_six = dialect("3.6.1")
    states = [d.name for d in states_of_forms(dialect("3.5.0"), (three_six,))]
    assert states == ["3.6.1", "3.6.0@2026-03-07", "3.6.0@2026-01-19", "3.6.0@2025-12-05"]
    own = states_of_forms(dialect("2.0.0@2025-08-05"), (dialect("2.0.0"),))
    assert own[0].name == "2.0.0@2025-08-05"
    assert len(own) == 21  # 13 of upstream with changes of functions, 8 of the fork
    assert states_of_forms(dialect("4.0.0"), (dialect("4.0.0"),))[0].name == "4.0.0"


def test_offers_are_what_a_client_checks():
    assert [d.name for d in offers(24)] == ["7.0.0", "6.0.0", "5.1.0", "5.0.0", "4.0.3"]
    names = ["3.6.1", "3.5.0", "3.0.0@2025-11-25", "2.0.0@2025-10-02", "1.0.0"]
    assert [d.name for d in offers(0)] == names


def test_groups_by_the_length_of_hello():
    assert groups() == {
        None: (V(0, 1), V(0, 5)),
        0: (V(1, 0), V(3, 6, 1)),
        24: (V(4, 0), V(7, 0)),
    }
    assert before_hello().name == "none-E@2025-04-17"


def test_other_hellos():
    assert [d.name for d in foreign_hellos(dialect("7.0.0"))] == ["3.6.1"]
    assert [d.name for d in foreign_hellos(dialect("2.0.0"))] == ["7.0.0"]
    assert [d.name for d in foreign_hellos(dialect("none-C"))] == ["3.6.1", "7.0.0"]
