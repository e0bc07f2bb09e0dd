import numpy as np
import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.lines import Fields
from ggmlrpc_core.recording.space import SLOT, Pointers, Space
from ggmlrpc_core.recording.tensors import NoEndpoints, TensorLines
from ggmlrpc_core.wire.codec import tensor_dtype
from ggmlrpc_core.wire.dialects import dialect


def lines(name="7.0.0", **options):
    space = Space()
    space.add(1000)
    return TensorLines(dialect(name), space, pointers=Pointers(), **options)


def fields_of(d, **values):
    row = np.zeros(1, tensor_dtype(d))
    for key, value in {
        "ne": [256, 2, 1, 1],
        "nb": [18, 144, 288, 288],
        "type": 2,
        **values,
    }.items():
        row[0][key] = value
    return d.tensor.unpack(row.tobytes())


def test_a_weight_is_a_short_line():
    found = lines().to_line(fields_of(dialect("7.0.0"), id=77, buffer=1, data=SLOT + 64, name=b"w"))
    assert found == {"id": 1, "type": "Q4_0", "ne": [256, 2], "buf": 1, "at": 64, "name": "w"}


def test_ops_and_functions_have_the_names_of_their_dialect():
    for name in ("7.0.0", "3.6.1", "none-C"):
        d = dialect(name)
        n = d.numbering
        params = [n.unary["SILU"]] + [0] * 15
        found = lines(name).to_line(
            fields_of(d, op=n.ops["UNARY"], op_params=params, src=[5] + [0] * (d.max_src - 1))
        )
        assert found["op"] == "UNARY/SILU" and "params" not in found and found["src"] == [1]


def test_an_endpoint_in_a_name_is_a_symbol():
    class One(NoEndpoints):
        def __init__(self, endpoint):
            self.endpoint = endpoint

        def number(self, text):
            return int(text == self.endpoint)

        def text(self, number):
            return self.endpoint

    d = dialect("7.0.0")
    recorded = fields_of(d, name=b"RPC0[10.0.0.7:5]#x#0")
    line = lines(endpoints=One("10.0.0.7:5")).to_line(recorded)
    assert line["name"] == "RPC0[$1]#x#0"
    read = lines(endpoints=One("host.example:50052")).from_line(Fields(line, where="x"))
    assert read["name"].rstrip(b"\0") == b"RPC0[host.example:50052]#x#0"
    assert lines().to_line(recorded)["name"] == "RPC0[10.0.0.7:5]#x#0"


def test_bytes_after_a_name_and_odd_names_are_kept():
    d = dialect("none-C")
    found = lines("none-C").to_line(fields_of(d, name=b"a\0junk", padding=b"\x01\x02\x03\x04"))
    assert (found["name"], found["tail"], found["padding"]) == ("a", "6a756e6b", "01020304")
    assert lines().to_line(fields_of(dialect("7.0.0"), name=b"\xff"))["name_hex"] == "ff"


@pytest.mark.parametrize(
    "line",
    [
        {"id": 1, "type": "F32", "ne": [1], "op": "NOPE"},
        {"id": 1, "type": "F32", "ne": [1], "op": "UNARY/NOPE"},
        {"id": 1, "type": 99, "ne": [1]},
        {"id": 1, "type": "F32", "ne": [1], "src": [0] * 11},
        {"id": 1, "type": "F32", "ne": [1], "name": 5},
        {"id": 1, "type": "F32", "ne": [1], "buf": {"ptr": 0}},
        {"id": 1, "type": "F32", "ne": [1], "params": [1 << 31]},
        {"id": -1, "type": "F32", "ne": [1]},
        {"id": 1, "type": "F32", "ne": [1], "odd": 1},
    ],
)
def test_what_is_no_tensor_is_refused(line):
    with pytest.raises(RecordingError, match=r"^here: "):
        lines().from_line(Fields(line, where="here"))
