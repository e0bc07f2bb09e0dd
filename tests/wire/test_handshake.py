"""Version rules of HELLO."""

from __future__ import annotations

import pytest

from ggmlrpc_core.wire.dialects import dialect, newest, spoken_names
from ggmlrpc_core.wire.handshake import dialect_for, hello_variants, stock_client_accepts
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


def test_own_version_then_the_same_minor():
    assert dialect_for(V(5, 1, 0)) is dialect("5.1.0")
    assert dialect_for(V(7, 0, 1)) is dialect("7.0.0")
    assert dialect_for(V(5, 9, 0)) is None
    assert dialect_for(V(99, 0, 0)) is None


def test_forms_of_hello_start_with_the_newest():
    forms = hello_variants()
    assert forms[0] is newest()
    sizes = [form.by_name["HELLO"].request.size for form in forms]
    assert len(set(sizes)) == len(sizes)
    every = {
        dialect(n).by_name["HELLO"].request.size
        for n in spoken_names()
        if "HELLO" in dialect(n).by_name
    }
    assert set(sizes) == every
