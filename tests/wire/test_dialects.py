import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.version import V


def test_names_newest_and_lookup():
    assert dialects.dialect_names() == ["5.1.0", "6.0.0", "7.0.0"]
    assert dialects.newest().name == "7.0.0"
    assert dialects.by_version(V(6, 0)).name == "6.0.0"
    assert dialects.by_version(V(6, 1)) is None


def test_unknown_name_lists_what_exists():
    with pytest.raises(LocalProtocolError) as caught:
        dialects.dialect("7.0")
    assert str(caught.value) == "dialect: name is '7.0', expected one of 5.1.0, 6.0.0, 7.0.0"


@pytest.mark.parametrize(
    ("name", "head", "memset_answered"),
    [("5.1.0", 304, True), ("6.0.0", 304, False), ("7.0.0", 305, False)],
)
def test_what_differs(name, head, memset_answered):
    d = dialects.dialect(name)
    assert d.by_name["SET_TENSOR"].request.size == head
    assert (d.by_name["MEMSET_TENSOR"].reply is not None) is memset_answered
    assert d.tensor.size == 296
    assert d.by_number[14].name == "HELLO"
    assert d.foreign_data_is_zero
