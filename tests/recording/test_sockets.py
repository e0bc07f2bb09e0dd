import socket

import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import ConnectionLost
from ggmlrpc_core.recording.sockets import Ended, Stream, dial, listen, readable


@pytest.fixture
def ends():
    one, two = socket.socketpair()
    yield Stream(one), two
    one.close()
    two.close()


def test_exact_reads_keep_what_came_too_early(ends):
    stream, peer = ends
    peer.sendall(b"abcdef")
    assert stream.exactly(2) == b"ab"
    assert stream.waiting
    assert stream.some(3) == b"cde"
    assert stream.exactly(1) == b"f" and not stream.waiting


def test_an_end_carries_what_there_was(ends):
    stream, peer = ends
    peer.sendall(b"abc")
    peer.close()
    with pytest.raises(Ended) as caught:
        stream.exactly(5)
    assert caught.value.partial == b"abc"
    with pytest.raises(Ended):
        stream.send(b"x" * (1 << 20))


def test_readable_sees_bytes_ends_and_closed_sockets(ends):
    stream, peer = ends
    assert readable(stream.sock, peer, timeout=0) == []
    peer.sendall(b"x")
    assert readable(stream.sock, peer, timeout=0) == [stream.sock]
    stream.close()
    assert readable(stream.sock, timeout=0) == [stream.sock]


def test_listen_and_dial():
    with listen(Endpoint("127.0.0.1", 0)) as sock:
        endpoint = Endpoint("127.0.0.1", sock.getsockname()[1])
        dial(endpoint, 5).close()
        with pytest.raises(OSError, match=str(endpoint)):
            listen(endpoint)
    with pytest.raises(ConnectionLost, match="expected a server that listens"):
        dial(endpoint, 5)
