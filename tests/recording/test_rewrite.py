import pytest

from ggmlrpc_core.recording.rewrite import device_of, handle_of, to_server
from ggmlrpc_core.recording.space import Rebinder, Space
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import dialect, wire_states


@pytest.fixture
def rebinder():
    space = Space()
    space.add(1000)
    found = Rebinder(space)
    found.bind_handle(1, 0xABCD)
    found.bind_base(1, 1 << 44)
    return found


@pytest.mark.parametrize("name", [d.name for d in wire_states()])
def test_every_handle_and_address_becomes_the_servers(name, rebinder, tensor):
    d = dialect(name)
    base = rebinder.space.base(1)
    ours, theirs = tensor(1, base + 8, 4), tensor(0xABCD, (1 << 44) + 8, 4)
    for wire in d.by_name.values():
        sent = bytearray(payload(d, wire, 1, ours))
        to_server(d, wire, sent, rebinder)
        assert sent == payload(d, wire, 0xABCD, theirs), wire.name


def payload(d, wire, handle, t):
    """A request with a handle and tensors in every place."""
    fields = dict.fromkeys(("device", "size", "value", "offset", "hash", "cache_flag"), 1)
    fields |= {"remote_ptr": handle, "tensor": t, "src": t, "dst": t, "srcs": [t, None, t]}
    return codec.encode_request(d, wire, {**fields, "nodes": [1], "tensors": [t, t]})


def test_what_is_too_short_is_left_alone(rebinder):
    d = dialect("7.0.0")
    for wire in d.by_name.values():
        for size in (0, 3, 9, 20):
            sent = bytearray(b"\x01" * size)
            to_server(d, wire, sent, rebinder)
            assert len(sent) == size


def test_fields_by_name():
    d = dialect("7.0.0")
    wire = d.by_name["ALLOC_BUFFER"]
    assert device_of(wire, codec.encode_request(d, wire, {"device": 3, "size": 1})) == 3
    assert device_of(d.by_name["HELLO"], bytes(24)) == 0
    wire = d.by_name["FREE_BUFFER"]
    assert handle_of(wire, codec.encode_request(d, wire, {"remote_ptr": 5})) == 5
    assert handle_of(d.by_name["HELLO"], bytes(24)) == 0
