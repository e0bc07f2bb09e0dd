"""The socket glue against a peer whose bytes are written by hand."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from ggmlrpc_core.client.connection import ClientConnection
from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.engine import Connection, Role
from ggmlrpc_core.errors import (
    ConnectionLost,
    LocalProtocolError,
    RemoteProtocolError,
    UnsupportedOp,
)
from ggmlrpc_core.wire.dialects import newest, states_of
from ggmlrpc_core.wire.tensors import TensorRecord

HELLO_REPLY = struct.pack("<QBBBB24x", 28, 7, 0, 0, 0)
TENSOR = TensorRecord(id=1, type=24, ne=(64, 1, 1, 1), nb=(1, 64, 64, 64), buffer=7, data=4096)


@pytest.fixture
def peers():
    """A connection past HELLO, and the peer's socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(HELLO_REPLY)
        with ClientConnection(
            ours, Endpoint("peer", 1), engine=Connection(Role.CLIENT, newest())
        ) as connection:
            assert connection.call("HELLO", conn_caps=b"")["major"] == 7
            theirs.recv(1 << 16)
            ours.settimeout(5)
            yield connection, theirs


def test_a_call_gives_the_fields_of_the_answer(peers):
    connection, peer = peers
    peer.sendall(struct.pack("<QQQ", 16, 0xABC, 64))
    assert connection.call("ALLOC_BUFFER", device=0, size=64) == {
        "remote_ptr": 0xABC, "remote_size": 64,
    }  # fmt: skip
    assert peer.recv(100) == struct.pack("<BQIQ", 0, 12, 0, 64)


def test_unanswered_commands_return_at_once_and_go_in_order(peers):
    connection, peer = peers
    assert connection.call("FREE_BUFFER", remote_ptr=5) == {}
    assert connection.call("BUFFER_CLEAR", remote_ptr=6, value=1) == {}
    assert peer.recv(100) == struct.pack("<BQQ", 4, 8, 5) + struct.pack("<BQQB", 5, 9, 6, 1)


def test_a_body_follows_its_head(peers):
    connection, peer = peers
    connection.call(
        "SET_TENSOR", body=memoryview(b"0123456789"), tensor=TENSOR, offset=3, cache_flag=1
    )
    sent = peer.recv(1000)
    assert sent[:9] == struct.pack("<BQ", 6, 305 + 10)
    assert sent[9 + 296 :] == struct.pack("<BQ", 1, 3) + b"0123456789"
    connection.call("SET_TENSOR", body=b"", tensor=TENSOR, offset=3)
    assert peer.recv(1000)[:9] == struct.pack("<BQ", 6, 305)


def test_data_is_received_into_memory_in_pieces_of_any_size(peers):
    connection, peer = peers
    data = bytes(range(64))
    peer.sendall(struct.pack("<Q", 64) + data[:1])
    sender = threading.Thread(target=peer.sendall, args=(data[1:],))
    sender.start()
    got = bytearray(66)
    connection.fetch("GET_TENSOR", memoryview(got)[1:65], tensor=TENSOR, offset=0)
    sender.join()
    assert got == b"\0" + data + b"\0"


def test_a_closed_connection_names_what_was_sent_before(peers):
    connection, peer = peers
    connection.call("FREE_BUFFER", remote_ptr=5)
    peer.recv(100)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(
        ConnectionLost,
        match=r"GET_DEVICE_MEMORY: connection is closed by the server, expected an answer "
        r"\[server peer:1, protocol 7\.0\.0, sent before and not answered: FREE_BUFFER\]",
    ):
        connection.call("GET_DEVICE_MEMORY", device=0)
    assert connection.closed
    with pytest.raises(ConnectionLost, match="FREE_BUFFER"):
        connection.call("GET_DEVICE_MEMORY", device=0)


def test_an_end_inside_data_is_an_error(peers):
    connection, peer = peers
    peer.sendall(struct.pack("<Q", 64) + bytes(10))
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionLost, match="expected 54 more bytes"):
        connection.fetch("GET_TENSOR", memoryview(bytearray(64)), tensor=TENSOR, offset=0)


def test_a_wrong_answer_closes(peers):
    connection, peer = peers
    peer.sendall(struct.pack("<Q", 3))
    with pytest.raises(RemoteProtocolError, match="reply_size is 3 bytes, expected 16"):
        connection.call("GET_DEVICE_MEMORY", device=0)
    assert connection.closed
    assert peer.recv(100) and peer.recv(100) == b""


def test_silence_ends_at_the_timeout(peers):
    connection, _ = peers
    connection._sock.settimeout(0.01)
    with pytest.raises(ConnectionLost, match="silent for longer than the timeout"):
        connection.call("GET_DEVICE_MEMORY", device=0)


def test_a_request_that_does_not_fit_leaves_the_connection_usable(peers):
    connection, peer = peers
    with pytest.raises(LocalProtocolError):
        connection.call("ALLOC_BUFFER", device=0, size=-1)
    with pytest.raises(LocalProtocolError):
        connection.call("NO_SUCH_COMMAND")
    peer.sendall(struct.pack("<QI", 4, 3))
    assert connection.call("DEVICE_COUNT") == {"device_count": 3}


def test_an_interrupted_exchange_closes(peers, monkeypatch):
    connection, _ = peers

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(connection, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        connection.call("DEVICE_COUNT")
    with pytest.raises(ConnectionLost, match="left in the middle of an exchange by KeyboardInt"):
        connection.call("DEVICE_COUNT")


def test_a_type_without_a_number_is_refused_before_sending(peers):
    connection, _ = peers
    with pytest.raises(UnsupportedOp, match="INIT_TENSOR"):
        connection.call("INIT_TENSOR", tensor=TENSOR._replace(type=4))
    assert not connection.closed


def test_a_closed_connection_says_so(peers):
    connection, _ = peers
    connection.close()
    connection.close()
    with pytest.raises(LocalProtocolError, match="state is closed, expected open"):
        connection.call("DEVICE_COUNT")


def test_what_is_spoken_may_be_one_of_several(peers):
    connection, _ = peers
    assert connection.candidates == (newest(),)
    older = states_of("2.0.0")
    connection.speak(older)
    assert connection.candidates == tuple(older)
    assert connection.dialect is older[-1]
