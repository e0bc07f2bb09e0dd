"""Endpoints: every form, and what is refused."""

import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import LocalProtocolError


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("127.0.0.1:50052", "127.0.0.1", 50052, "127.0.0.1:50052"),
        ("gpubox", "gpubox", 50052, "gpubox:50052"),
        ("gpubox:0", "gpubox", 0, "gpubox:0"),
        ("[::1]:5", "::1", 5, "[::1]:5"),
        ("::1", "::1", 50052, "[::1]:50052"),
        ("[::]", "::", 50052, "[::]:50052"),
        (":77", "127.0.0.1", 77, "127.0.0.1:77"),
        ("50053", "127.0.0.1", 50053, "127.0.0.1:50053"),
        ("", "127.0.0.1", 50052, "127.0.0.1:50052"),
        ("::1:5005", "::1:5005", 50052, "[::1:5005]:50052"),
        ("unix:/run/a:b", "unix:/run/a:b", 0, "unix:/run/a:b"),
    ],
)
def test_endpoints(text, host, port, shown):
    endpoint = Endpoint.parse(text)
    assert (endpoint.host, endpoint.port, str(endpoint)) == (host, port, shown)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a:x", "endpoint: port is x, expected a number from 0 to 65535"),
        ("a:65536", "endpoint: port is 65536, expected a number from 0 to 65535"),
        ("a:", "endpoint: port is , expected a number from 0 to 65535"),
        ("a:²", "endpoint: port is ², expected a number from 0 to 65535"),
        (
            "::1:50052",
            "endpoint: text is '::1:50052', expected HOST:PORT, [IPV6]:PORT or unix:/path",
        ),
        ("unix:", "endpoint: path is empty, expected unix:/path/of/socket"),
    ],
)
def test_bad_endpoints(text, sentence):
    with pytest.raises(LocalProtocolError) as info:
        Endpoint.parse(text)
    assert str(info.value) == sentence


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "::1", "unix:/x", "0.0.0.0", "::", "10.0.0.1", "gpubox"]
)
def test_who_can_connect(host):
    local = host in ("127.0.0.1", "127.1.2.3", "::1", "unix:/x")
    assert Endpoint(host, 1).local_only is local
