import pytest
from construct import Int8ul, Int32ul, Struct

from ggmlrpc_core.wire.fields import since, until
from ggmlrpc_core.wire.version import V

S = Struct("a" / Int8ul, "b" / since(V(3, 0), Int32ul), "c" / until(V(5, 0), Int8ul))


@pytest.mark.parametrize(
    ("version", "data", "b", "c"),
    [
        (V(2, 0), b"\1\2", None, 2),
        (V(3, 0), b"\1\2\0\0\0\3", 2, 3),
        (V(5, 0), b"\1\2\0\0\0", 2, None),
    ],
)
def test_a_versioned_field_exists_only_in_its_versions(version, data, b, c):
    parsed = S.parse(data, version=version)
    assert (parsed.a, parsed.b, parsed.c) == (1, b, c)
    assert S.build({"a": 1, "b": b, "c": c}, version=version) == data
    assert S.sizeof(version=version) == len(data)


def test_exists():
    assert not since(V(3, 0), Int8ul).exists(V(2, 9))
    assert since(V(3, 0), Int8ul).exists(V(3, 0))
    assert not until(V(5, 0), Int8ul).exists(V(5, 0))
