import numpy as np
import pytest

from ggmlrpc_core.errors import LocalProtocolError, RemoteProtocolError
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import dialect
from ggmlrpc_core.wire.tensors import TensorRecord
from ggmlrpc_core.wire.version import V

D = dialect("7.0.0")
T = TensorRecord(1, 0, (4, 1, 1, 1), (4, 16, 16, 16), buffer=9, data=64, name=b"t")


def payload(tensors=(T,), nodes=(1,)):
    return codec.encode_request(
        D, D.by_name["GRAPH_COMPUTE"], {"device": 2, "nodes": nodes, "tensors": list(tensors)}
    )


def test_graph_round_trip_with_trailing_bytes():
    data = payload((T, T._replace(id=2)), (2, 1))
    assert len(data) == 12 + 8 * 2 + 296 * 2
    for tail in (b"", b"\1\2\3"):
        fields = codec.decode_graph(D, D.by_name["GRAPH_COMPUTE"], data + tail)
        assert fields["device"] == 2
        assert fields["nodes"].tolist() == [2, 1]
        assert fields["tensors"]["id"].tolist() == [1, 2]


@pytest.mark.parametrize("n", range(8, 12 + 8 + 296))
def test_a_graph_cut_anywhere_is_refused(n):
    with pytest.raises(
        RemoteProtocolError,
        match=r"^GRAPH_COMPUTE: request_size is \d+ bytes, expected at least \d+ \[",
    ):
        codec.decode_graph(D, D.by_name["GRAPH_COMPUTE"], payload()[:n])


def test_counts_near_2_to_32_are_refused():
    data = np.array([0, 0xFFFFFFFF, 0], "<u4").tobytes()
    with pytest.raises(RemoteProtocolError) as caught:
        codec.decode_graph(D, D.by_name["GRAPH_COMPUTE"], data)
    assert str(caught.value) == (
        "GRAPH_COMPUTE: request_size is 12 bytes, expected at least 34359738372 [n_nodes 4294967295]"
    )


def test_sizes_are_checked_before_anything_is_read():
    alloc, upload = D.by_name["ALLOC_BUFFER"], D.by_name["SET_TENSOR"]
    codec.check_request_size(alloc, 12, V(7, 0))
    codec.check_request_size(upload, 305 + 10**18, V(7, 0))
    with pytest.raises(RemoteProtocolError) as caught:
        codec.check_request_size(alloc, 8, V(7, 0))
    assert (
        str(caught.value) == "ALLOC_BUFFER: request_size is 8 bytes, expected 12 [protocol 7.0.0]"
    )
    with pytest.raises(RemoteProtocolError) as caught:
        codec.check_request_size(upload, 304, V(7, 0))
    assert (
        str(caught.value)
        == "SET_TENSOR: request_size is 304 bytes, expected at least 305 [protocol 7.0.0]"
    )


def test_absent_sources_of_alloc_size_are_zero_and_come_back_as_none():
    wire = D.by_name["GET_ALLOC_SIZE"]
    data = codec.encode_request(D, wire, {"device": 0, "tensor": T, "srcs": [None, T]})
    assert len(data) == 3260
    assert data[300:596] == bytes(296)
    srcs = codec.decode_head(D, wire, data)["srcs"]
    assert [s and s.id for s in srcs] == [None, 1, *[None] * 8]


def test_fields_that_do_not_fit_are_our_own_fault():
    with pytest.raises(LocalProtocolError, match=r"^ALLOC_BUFFER: fields is "):
        codec.encode_request(D, D.by_name["ALLOC_BUFFER"], {"size": -1})
    with pytest.raises(LocalProtocolError, match=r"^ALLOC_BUFFER: fields is 'size', expected"):
        codec.encode_request(D, D.by_name["ALLOC_BUFFER"], {})


def test_replies():
    wire = D.by_name["HELLO"]
    data = codec.encode_reply(wire, {"major": 7, "minor": 0, "patch": 0})
    assert data == b"\7\0\0\0" + bytes(24)
    assert codec.decode_reply(wire, data)["major"] == 7
