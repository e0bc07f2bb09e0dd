"""Sockets of endpoints."""

from __future__ import annotations

import socket

import pytest

from ggmlrpc_core.client.sockets import open_socket
from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import ConnectionLost, LocalProtocolError


def test_a_socket_has_its_timeout_and_waits_for_no_full_packet():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        open_socket(Endpoint("127.0.0.1", listener.getsockname()[1]), 3.0) as sock,
    ):
        assert sock.gettimeout() == 3.0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_nobody_there(tmp_path):
    with pytest.raises(ConnectionLost, match=r"connect: unix:.*expected a server that listens"):
        open_socket(Endpoint(f"unix:{tmp_path / 'none'}", 0), 1.0)


def test_port_0_is_only_for_listening():
    with pytest.raises(LocalProtocolError, match="connect: port is 0, expected a number from 1"):
        open_socket(Endpoint.parse("127.0.0.1:0"), 1.0)
