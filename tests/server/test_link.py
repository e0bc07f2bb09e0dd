"""The socket under the engine."""

import select
import socket

import pytest

from ggmlrpc_core.engine.connection import Connection
from ggmlrpc_core.engine.events import PEER_CLOSED
from ggmlrpc_core.engine.state import Role
from ggmlrpc_core.errors import ConnectionLost, TruncatedFrame
from ggmlrpc_core.server.limits import ServerLimits
from ggmlrpc_core.server.link import SocketLink
from ggmlrpc_core.wire import dialects


class Pair:
    """A link, and the other end of its socket with the bytes of requests."""

    def __init__(self, **limits):
        ours, self.far = socket.socketpair()
        self.far.settimeout(20)
        self.conn = Connection(Role.SERVER, dialects.newest())
        self.link = SocketLink(ours, self.conn, limits=ServerLimits(**limits))
        self.near = ours

    def greet(self):
        self.far.sendall(b"\x0e" + (24).to_bytes(8, "little") + bytes(24))
        assert self.link.next_event().command == "HELLO"
        assert self.link.answer_due
        self.link.send(self.conn.reply(major=7, minor=0, patch=0, pad=0, conn_caps=b""))
        assert not self.link.answer_due
        assert len(self.far.recv(100)) == 36
        return self

    def close(self):
        self.near.close()
        self.far.close()


@pytest.fixture
def pair():
    made = []

    def begin(**limits):
        made.append(Pair(**limits))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def upload(tensor, size):
    from ggmlrpc_core.wire import codec

    wire = dialects.newest().by_name["SET_TENSOR"]
    fields = {"tensor": tensor(1, 1, size), "offset": 0}
    payload = codec.encode_request(dialects.newest(), wire, fields)
    return bytes([wire.number]) + (len(payload) + size).to_bytes(8, "little") + payload


def test_a_body_is_received_where_it_belongs(pair, tensor):
    one = pair().greet()
    data = bytes(range(200)) * 10
    one.far.sendall(upload(tensor, 2000) + data[:700])
    assert one.link.next_event().body_size == 2000
    one.far.sendall(data[700:])
    into = bytearray(2000)
    one.link.receive(memoryview(into)[:1500])
    one.link.receive(memoryview(into)[1500:])
    assert into == data
    one.far.close()
    assert one.link.next_event() is PEER_CLOSED


def test_a_body_that_ends_early(pair, tensor):
    one = pair().greet()
    one.far.sendall(upload(tensor, 2000) + bytes(700))
    one.link.next_event()
    one.far.shutdown(socket.SHUT_WR)
    with pytest.raises(TruncatedFrame) as info:
        one.link.receive(memoryview(bytearray(2000)))
    assert str(info.value) == "body: bytes missing at its end is 1300, expected 0"


@pytest.mark.parametrize("sizes", [[], [5], [3, 4], [100_000, 1]])
def test_data_is_sent_in_pieces(pair, tensor, sizes):
    one = pair().greet()
    from ggmlrpc_core.wire import codec

    wire = dialects.newest().by_name["GET_TENSOR"]
    fields = {"tensor": tensor(1, 1, 4), "offset": 0, "size": sum(sizes)}
    payload = codec.encode_request(dialects.newest(), wire, fields)
    one.far.sendall(bytes([wire.number]) + len(payload).to_bytes(8, "little") + payload)
    one.link.next_event()
    one.link.send_data(sum(sizes), iter([memoryview(bytes([i]) * n) for i, n in enumerate(sizes)]))
    expected = sum(sizes).to_bytes(8, "little") + b"".join(
        bytes([i]) * n for i, n in enumerate(sizes)
    )
    found = b""
    while len(found) < len(expected):
        found += one.far.recv(1 << 20)
    assert found == expected


def test_who_does_not_read_is_given_up(pair):
    one = pair(stall_timeout=0.02).greet()
    with pytest.raises(ConnectionLost) as info:
        one.link.send(bytes(1 << 26))
    assert str(info.value) == (
        "connection: progress inside a message is none, expected some within 0.02 seconds"
    )


def test_peer_left_takes_nothing_from_the_stream(pair):
    one = pair().greet()
    assert not one.link.peer_left()
    one.far.sendall(b"\x0f" + bytes(8))
    assert not one.link.peer_left()
    assert one.link.next_event().command == "DEVICE_COUNT"
    one.far.close()
    assert one.link.peer_left()


def test_a_reset_is_told(pair):
    one = pair().greet()
    one.near.close()
    with pytest.raises(ConnectionLost, match="connection: socket is Bad file descriptor"):
        one.link.next_event()
    assert one.link.peer_left()
    one.link.shutdown()


@pytest.mark.skipif(not hasattr(select, "poll"), reason="select alone cannot see high descriptors")
def test_a_live_peer_on_a_high_descriptor_has_not_left(pair):
    import fcntl

    one = pair().greet()
    high = fcntl.fcntl(one.near.fileno(), fcntl.F_DUPFD, 1500)
    with socket.socket(fileno=high) as sock:
        link = SocketLink(sock, one.conn, limits=ServerLimits())
        assert not link.peer_left()
        one.far.shutdown(socket.SHUT_RDWR)
        assert link.peer_left()


def test_an_idle_client_goes_only_when_it_is_told_so(pair):
    one = pair(idle_timeout=0.05).greet()
    with pytest.raises(ConnectionLost) as info:
        one.link.next_event()
    assert str(info.value) == ("connection: messages is none, expected one within 0.05 seconds")


def test_bytes_begin_the_time_of_an_idle_client_again(pair):
    one = pair(idle_timeout=0.05, stall_timeout=0.02).greet()
    one.link._silent = 0.04
    one.far.sendall(b"\x0f")  # the first byte of a message: from here on a stall counts
    with pytest.raises(
        ConnectionLost, match=r"progress inside a message is none, expected some within 0\.02"
    ):
        one.link.next_event()
    assert one.link._silent == 0.0
