"""The engine, with both roles wired back to back and fed in every way a network can."""

import numpy as np
import pytest

from ggmlrpc_core.engine import (
    NEED_DATA,
    PEER_CLOSED,
    Connection,
    Limits,
    Reply,
    Request,
    Role,
    State,
)
from ggmlrpc_core.errors import (
    FrameTooLarge,
    LocalProtocolError,
    RemoteProtocolError,
    TruncatedFrame,
    UnknownCommand,
    VersionMismatch,
)
from ggmlrpc_core.wire.dialects import dialect, wire_states
from ggmlrpc_core.wire.tensors import TensorRecord

T = TensorRecord(1, 0, (4, 1, 1, 1), (4, 16, 16, 16), buffer=9, data=64, name=b"t")
REPLIES = {
    "GRAPH_COMPUTE": {"result": 0},
    "ALLOC_BUFFER": {"remote_ptr": 3, "remote_size": 64},
    "GET_ALIGNMENT": {"alignment": 32},
    "GET_MAX_SIZE": {"max_size": 2**64 - 1},
    "BUFFER_GET_BASE": {"base_ptr": 4096},
    "SET_TENSOR_HASH": {"result": 1},
    "COPY_TENSOR": {"result": 0},
    "GET_DEVICE_MEMORY": {"free_mem": 1, "total_mem": 2},
    "GET_ALLOC_SIZE": {"alloc_size": 16},
    "DEVICE_COUNT": {"device_count": 2},
}
FIELDS = {
    "ALLOC_BUFFER": {"device": 1, "size": 64},
    "GET_ALIGNMENT": {"device": 1},
    "GET_MAX_SIZE": {"device": 1},
    "BUFFER_GET_BASE": {"remote_ptr": 3},
    "FREE_BUFFER": {"remote_ptr": 3},
    "BUFFER_CLEAR": {"remote_ptr": 3, "value": 255},
    "SET_TENSOR_HASH": {"tensor": T, "offset": 4, "hash": 2**64 - 1},
    "COPY_TENSOR": {"src": T, "dst": T._replace(id=2)},
    "GRAPH_COMPUTE": {"device": 1, "nodes": [1], "tensors": [T]},
    "GET_DEVICE_MEMORY": {"device": 1},
    "INIT_TENSOR": {"tensor": T},
    "GET_ALLOC_SIZE": {"device": 1, "tensor": T, "srcs": [T, None]},
    "DEVICE_COUNT": {},
    "GRAPH_RECOMPUTE": {"device": 1},
    "MEMSET_TENSOR": {"tensor": T, "offset": 0, "size": 4, "value": 7},
}


def pair(name="7.0.0", **kwargs):
    d = dialect(name)
    client, server = Connection(Role.CLIENT, d), Connection(Role.SERVER, d, **kwargs)
    if "HELLO" not in d.by_name:
        return client, server
    server.receive_data(client.request("HELLO"))
    assert isinstance(server.next_event(), Request)
    major, minor, patch = d.version
    client.receive_data(server.reply(major=major, minor=minor, patch=patch))
    reply = client.next_event()
    assert (reply.command, reply.fields["major"]) == ("HELLO", major)
    return client, server


def feed(conn, data, step):
    """Give data in pieces; the events that are not NEED_DATA."""
    found = []
    for at in range(0, len(data), step):
        conn.receive_data(data[at : at + step])
        event = conn.next_event()
        if event is not NEED_DATA:
            found.append(event)
    return found


def same(a, b):
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return a == b


@pytest.mark.parametrize("step", [1, 10**6])
@pytest.mark.parametrize(
    ("name", "command"),
    [(d.name, command) for d in wire_states() for command in FIELDS if command in d.by_name],
)
def test_every_command_back_to_back(name, command, step):
    client, server = pair(name)
    data = client.request(command, **FIELDS[command])
    whole = Connection(Role.SERVER, server.dialect)
    whole.state = State.READY
    whole.receive_data(data)
    expected = whole.next_event()
    (event,) = feed(server, data, step)
    assert (event.command, event.size, event.body_size) == (command, len(data) - 9, 0)
    assert all(same(event.fields[k], expected.fields[k]) for k in expected.fields)
    wire = server.dialect.by_name[command]
    if wire.reply is None:
        assert server.state is client.state is State.READY
    else:
        fields = REPLIES.get(command, {})
        (reply,) = feed(client, server.reply(**fields), step)
        assert reply == Reply(command, fields)
    assert server.next_event() is NEED_DATA


@pytest.mark.parametrize("command", ["ALLOC_BUFFER", "SET_TENSOR_HASH", "GRAPH_COMPUTE"])
def test_a_request_cut_at_every_length_is_an_error(command):
    client, _ = pair()
    data = client.request(command, **FIELDS[command])
    for n in range(1, len(data)):
        _, server = pair()
        server.receive_data(data[:n])
        assert server.next_event() is NEED_DATA
        assert server.bytes_wanted == (9 if n < 9 else len(data)) - n
        server.receive_data(b"")
        with pytest.raises(TruncatedFrame) as caught:
            server.next_event()
        assert str(caught.value).startswith(
            f"stream: message is {n} bytes long at its end, expected "
        )
        assert server.state is State.CLOSED


def test_a_tail_is_the_next_message():
    client, server = pair()
    first = client.request("GRAPH_RECOMPUTE", device=0)
    second = client.request("GRAPH_RECOMPUTE", device=1)
    server.receive_data(first + second[:3])
    assert server.next_event().fields == {"device": 0}
    assert server.next_event() is NEED_DATA
    server.receive_data(second[3:])
    assert server.next_event().fields == {"device": 1}


@pytest.mark.parametrize("early", range(11))
def test_upload_body_is_taken_or_received_directly(early):
    """`early` bytes of the body arrive with the head; the owner receives the rest itself."""
    client, server = pair()
    body = b"0123456789"
    head = client.request("SET_TENSOR", tensor=T, offset=0, cache_flag=1, body_size=10)
    client.body_sent()
    server.receive_data(head + body[:early])
    event = server.next_event()
    assert (event.command, event.size, event.body_size) == ("SET_TENSOR", 315, 10)
    assert event.fields["cache_flag"] == 1
    memory = bytearray(10)
    taken = server.take_body(memoryview(memory))
    assert taken == early
    if early < 10:
        assert server.body_left == server.bytes_wanted == 10 - early
        with pytest.raises(LocalProtocolError, match="next_event: state is BODY"):
            server.next_event()
        memory[early:] = body[early:]
        server.body_received(10 - early)
    assert memory == body
    assert server.state is State.READY
    assert server.next_event() is NEED_DATA


def test_a_body_is_taken_in_pieces_and_the_next_message_follows():
    client, server = pair()
    data = client.request("SET_TENSOR", tensor=T, offset=0, body_size=5)
    client.body_sent()
    data += b"abcde" + client.request("GRAPH_RECOMPUTE", device=3)
    server.receive_data(data)
    server.next_event()
    out = bytearray(2)
    pieces = b""
    while server.body_left:
        n = server.take_body(memoryview(out))
        pieces += bytes(out[:n])
    assert pieces == b"abcde"
    assert server.next_event().fields == {"device": 3}


def test_an_empty_upload_has_no_body():
    client, server = pair()
    server.receive_data(client.request("SET_TENSOR", tensor=T, offset=0))
    assert server.next_event().body_size == 0
    assert client.state is server.state is State.READY


@pytest.mark.parametrize("step", [1, 100])
def test_download(step):
    client, server = pair()
    server.receive_data(client.request("GET_TENSOR", tensor=T, offset=0, size=4))
    assert server.next_event().fields["size"] == 4
    (event,) = feed(client, server.reply_head(4), step)
    assert event == Reply("GET_TENSOR", {}, 4)
    client.receive_data(b"wxyz")
    memory = bytearray(4)
    assert client.take_body(memoryview(memory)) == 4
    assert memory == b"wxyz"
    assert client.state is server.state is State.READY


def test_an_empty_download():
    client, server = pair()
    server.receive_data(client.request("GET_TENSOR", tensor=T, offset=0, size=0))
    server.next_event()
    client.receive_data(server.reply_head(0))
    assert client.next_event() == Reply("GET_TENSOR", {}, 0)
    assert client.state is State.READY


def error(data, *, greeted=True, **kwargs):
    server = pair(**kwargs)[1] if greeted else Connection(Role.SERVER, dialect("7.0.0"))
    server.receive_data(data)
    with pytest.raises(RemoteProtocolError) as caught:
        server.next_event()
    assert server.state is State.CLOSED
    return type(caught.value), str(caught.value)


def header(command, size):
    return bytes([command]) + size.to_bytes(8, "little")


def test_the_first_command_must_be_hello():
    assert error(b"\1", greeted=False) == (
        VersionMismatch,  # a command that clients knew before they knew HELLO
        "HELLO: first command is GET_ALIGNMENT (1), expected HELLO (14)",
    )
    assert error(b"\xff", greeted=False)[1] == "HELLO: first command is 255, expected HELLO (14)"
    for size in (0, 23, 25):
        assert error(header(14, size), greeted=False)[1] == (
            f"HELLO: request_size is {size} bytes, expected 24 [protocol 7.0.0]"
        )


def test_hello_comes_once():
    assert error(b"\x0e") == (
        RemoteProtocolError,
        "HELLO: command is a second HELLO, expected any other command",
    )


@pytest.mark.parametrize("command", [18, 19, 255])
def test_unknown_commands_are_refused_at_their_first_byte(command):
    assert error(bytes([command])) == (
        UnknownCommand,
        f"request: command is {command}, expected a command of the dialect [protocol 7.0.0]",
    )


@pytest.mark.parametrize("size", [0, 11, 13, 2**63, 2**64 - 1])
def test_a_fixed_length_is_exact(size):
    assert (
        error(header(0, size))[1]
        == f"ALLOC_BUFFER: request_size is {size} bytes, expected 12 [protocol 7.0.0]"
    )


def test_a_graph_above_the_limit_is_refused_before_it_comes():
    assert error(header(10, 1001), limits=Limits(max_message=1000)) == (
        FrameTooLarge,
        "GRAPH_COMPUTE: request_size is 1001 bytes, expected at most 1000",
    )


def test_an_upload_is_not_bound_by_the_message_limit():
    _, server = pair(limits=Limits(max_message=1000))
    server.receive_data(header(6, 305 + 2**40))
    assert server.next_event() is NEED_DATA
    assert server.bytes_wanted == 305


def test_the_end_between_messages_is_no_error():
    _, server = pair()
    server.receive_data(b"")
    assert server.next_event() is PEER_CLOSED
    assert server.state is State.CLOSED


def test_a_server_that_dies_before_it_answers():
    client, _ = pair()
    client.request("DEVICE_COUNT")
    client.receive_data(b"")
    with pytest.raises(TruncatedFrame) as caught:
        client.next_event()
    assert str(caught.value) == "DEVICE_COUNT: connection is closed by the peer, expected an answer"


def test_a_reply_of_another_length():
    client, _ = pair()
    client.request("DEVICE_COUNT")
    client.receive_data((5).to_bytes(8, "little"))
    with pytest.raises(RemoteProtocolError) as caught:
        client.next_event()
    assert str(caught.value) == "DEVICE_COUNT: reply_size is 5 bytes, expected 4 [protocol 7.0.0]"


def test_bytes_that_nobody_asked_for():
    client, _ = pair()
    client.receive_data(bytes(8))
    with pytest.raises(RemoteProtocolError) as caught:
        client.next_event()
    assert str(caught.value) == "reply: bytes is 8 without a request, expected none"


def test_our_own_mistakes():
    client, server = pair()
    client.request("DEVICE_COUNT")
    with pytest.raises(LocalProtocolError) as caught:
        client.request("DEVICE_COUNT")
    assert (
        str(caught.value)
        == "DEVICE_COUNT: step is ASK, expected REPLY, DATA, END in state ANSWERING"
    )
    with pytest.raises(LocalProtocolError):
        server.reply(device_count=1)
    with pytest.raises(LocalProtocolError) as caught:
        client.request("NONE")
    assert str(caught.value) == "NONE: dialect is 7.0.0, expected one that has the command"
    with pytest.raises(LocalProtocolError):
        client.body_sent()
    with pytest.raises(LocalProtocolError):
        server.body_received(1)


def test_between_messages():
    client, server = pair()
    assert server.between_messages
    data = client.request("SET_TENSOR", tensor=T, offset=0, body_size=4)
    server.receive_data(data[:1])
    assert not server.between_messages
    server.receive_data(data[1:])
    server.next_event()
    assert not server.between_messages
    server.body_received(4)
    assert server.between_messages
