import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.server.offer import Offer
from ggmlrpc_core.wire.dialects import dialect


@pytest.mark.parametrize(
    ("name", "found", "pinned"),
    [
        (None, "7.0.0", True),
        ("4.0.1", "4.0.1", True),
        ("2.0.0", "2.0.0@2025-10-02", False),  # its last numbering, one of several
        ("2.0.0@2025-08-05", "2.0.0@2025-08-05", True),
        ("3.6.1/name128", "3.6.1/name128", True),
        ("ik-3.5.2", "ik-3.5.2/16src@2026-07-25", False),
        ("ik-3.5.2/12src", "ik-3.5.2/12src", True),
        (dialect("3.5.0"), "3.5.0", True),
    ],
)
def test_names(name, found, pinned):
    offer = Offer.of(name)
    assert (offer.dialect.name, offer.pinned, offer.walk) == (found, pinned, None)
    assert offer.candidates[0] is offer.dialect
    assert str(offer) == (name if isinstance(name, str) else found)


def test_a_pinned_listener_lets_nobody_in_without_its_hello():
    assert {d.hello_size for d in Offer.of("7.0.0").candidates} == {24, 0}
    assert {d.hello_size for d in Offer.of("none-C").candidates} == {None, 24, 0}


def test_auto_is_for_all():
    offer = Offer.of("auto")
    assert (offer.dialect.name, offer.pinned) == ("7.0.0", False)
    assert {d.hello_size for d in offer.candidates} == {None, 24, 0}
    assert str(offer) == "every version, by trial (auto)"


def test_an_unknown_name():
    with pytest.raises(LocalProtocolError, match=r"name is '8\.0\.0', expected one of none-A"):
        Offer.of("8.0.0")
