"""Endpoints: the three forms, and what is refused."""

from __future__ import annotations

import pytest

from ggmlrpc_core.client.endpoint import Endpoint, open_socket, parse_endpoint
from ggmlrpc_core.errors import ConnectionLost, LocalProtocolError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:50052", Endpoint("127.0.0.1", 50052)),
        ("gpu-box:1", Endpoint("gpu-box", 1)),
        ("[::1]:65535", Endpoint("::1", 65535)),
        ("unix:/run/x:y", Endpoint(path="/run/x:y")),
    ],
)
def test_an_endpoint_reads_and_shows_the_same(text, endpoint):
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":1", "host:0", "host:65536", "host:http", "::1:50052", "unix:", "a:²"],
)
def test_what_is_no_endpoint_is_refused(text):
    with pytest.raises(LocalProtocolError, match="expected host:port"):
        parse_endpoint(text)


def test_nobody_there(tmp_path):
    with pytest.raises(ConnectionLost, match=r"connect: unix:.*expected a server that listens"):
        open_socket(Endpoint(path=str(tmp_path / "none")), 1.0)
