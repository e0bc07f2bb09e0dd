import pytest

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.wire.dialects import dialect, wire_states
from ggmlrpc_core.wire.tensors import TensorRecord, decode_name, from_wire, to_wire
from ggmlrpc_core.wire.translate import UNKNOWN

RECORD = TensorRecord(
    id=7, type=12, ne=(256, 2, 3, 4), nb=(144, 144, 288, 864), buffer=0xB, op=NEWEST.ops["UNARY"],
    op_params=(NEWEST.unary["SILU"],) + (0,) * 14 + (-1,), flags=16, src=(1, 2) + (0,) * 8, view_src=3, view_offs=5,
    data=0xD000, name=b"blk.0", use_count=2,
)  # fmt: skip


@pytest.mark.parametrize("name", [d.name for d in wire_states()])
def test_a_record_survives_the_wire(name):
    d = dialect(name)
    back = from_wire(d, d.tensor.unpack(to_wire(d, [RECORD]).tobytes()))
    counted = "use_count" in d.tensor.unpack(bytes(d.tensor.size))
    src = (*RECORD.src, *[0] * (d.max_src - 10))
    assert back == RECORD._replace(wire_type=12, use_count=2 if counted else 0, src=src)
    assert back.ggml_type.name == "Q4_K"


def test_dead_and_unknown_types_have_no_type():
    d = dialect("7.0.0")
    fields = d.tensor.unpack(to_wire(d, [RECORD]).tobytes())
    for number in (4, 31, 43, 0xFFFFFFFF):
        record = from_wire(d, {**fields, "type": number})
        assert (record.type, record.ggml_type, record.wire_type) == (UNKNOWN, None, number)


def test_names_are_cut_and_never_fail_to_decode():
    assert decode_name(b"a\0b\xff") == "a"
    assert decode_name(b"\xff\xfe") == "��"
    d = dialect("7.0.0")
    long = RECORD._replace(name=b"x" * 80)
    assert from_wire(d, d.tensor.unpack(to_wire(d, [long]).tobytes())).name == b"x" * 63


def test_an_extent_above_32_bits_is_refused():
    with pytest.raises(OverflowError):
        to_wire(dialect("7.0.0"), [RECORD._replace(ne=(1 << 32, 1, 1, 1))])


def test_no_records():
    assert to_wire(dialect("7.0.0"), []).tobytes() == b""
