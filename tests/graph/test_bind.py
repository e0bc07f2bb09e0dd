import pytest

from ggmlrpc_core.errors import RemoteProtocolError
from ggmlrpc_core.graph.bind import Bound, bind_tensor
from ggmlrpc_core.wire.tensors import TensorRecord

BOUND = Bound("buffer", 4096, 100)
T = TensorRecord(1, 0, (5, 1, 1, 1), (4, 20, 20, 20), buffer=7, data=4100, name=b"w", wire_type=0)


def bind(record):
    return bind_tensor("SET_TENSOR", record, {7: BOUND}.get)


def refusal(record):
    with pytest.raises(RemoteProtocolError) as caught:
        bind(record)
    return str(caught.value)


def test_placed():
    t = bind(T)
    assert (t.buffer, t.offset, t.nbytes, t.name, str(t.type)) == ("buffer", 4, 20, "w", "F32")


@pytest.mark.parametrize("handle", [0, 8])
def test_unknown_handles_mean_no_buffer(handle):
    t = bind(T._replace(buffer=handle))
    assert (t.buffer, t.offset) == (None, 0)


@pytest.mark.parametrize("data", [4095, 4096 + 81, 0, 2**64 - 1])
def test_outside(data):
    assert refusal(T._replace(data=data)) == (
        f"SET_TENSOR: tensor region is [{data:#x}, {data + 20:#x}), expected inside [0x1000, 0x1064) [tensor 'w']"
    )


@pytest.mark.parametrize("data", [4096, 4096 + 80])
def test_edges_are_inside(data):
    bind(T._replace(data=data))


def test_dead_type():
    assert (
        refusal(T._replace(type=-1, wire_type=4))
        == "SET_TENSOR: tensor.type is 4, expected a live type [tensor 'w']"
    )


def test_blocks():
    assert (
        refusal(T._replace(type=2))
        == "SET_TENSOR: tensor.ne[0] is 5, expected a multiple of 32 [Q4_0, tensor 'w']"
    )


def test_extent_zero_has_no_bytes():
    assert bind(T._replace(ne=(5, 0, 1, 1), data=4196)).nbytes == 0
