"""Listening sockets."""

import socket
import stat
import sys
import threading

import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.server.listener import Listener

needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp(host):
    try:
        listener = Listener(Endpoint(host, 0))
    except OSError:
        if host == "::1":
            pytest.skip("no IPv6 here")
        raise
    assert listener.endpoint.port
    with socket.create_connection((host, listener.endpoint.port)) as client:
        sock, address, peer = listener.accept()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert (address, peer) == (str(Endpoint(host, client.getsockname()[1])), host)
        sock.close()
    listener.close()


def test_a_port_that_is_taken_is_named():
    listener = Listener(Endpoint("127.0.0.1", 0))
    with pytest.raises(OSError, match=f"127.0.0.1:{listener.endpoint.port}: "):
        Listener(listener.endpoint)
    listener.close()


def test_a_host_that_does_not_exist_is_named():
    with pytest.raises(OSError, match=r"^no\.such\.host\.invalid: "):
        Listener(Endpoint("no.such.host.invalid", 0))


def test_close_wakes_accept():
    listener, seen = Listener(Endpoint("127.0.0.1", 0)), []

    def accept():
        try:
            seen.append(listener.accept())
        except OSError:
            seen.append(None)

    thread = threading.Thread(target=accept)
    thread.start()
    listener.close()
    thread.join(10)
    assert seen == [None]
    listener.close()


@needs_unix
def test_unix_socket(tmp_path):
    path = tmp_path / "s"
    listener = Listener(Endpoint(f"unix:{path}", 0))
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        sock, address, peer = listener.accept()
        assert (address, peer) == ("unix socket", "unix")
        sock.close()
    listener.close()
    assert not path.exists()


@needs_unix
def test_the_socket_of_a_dead_server_is_replaced(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = Listener(Endpoint(f"unix:{path}", 0))
    with pytest.raises(OSError, match=str(path)):
        Listener(listener.endpoint)  # this one lives
    listener.close()
    path.write_text("a file of somebody")
    with pytest.raises(OSError, match=str(path)):
        Listener(Endpoint(f"unix:{path}", 0))
    assert path.read_text() == "a file of somebody"
