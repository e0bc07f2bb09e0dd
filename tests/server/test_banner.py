"""What a server says at its start."""

from pathlib import Path

import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.server import banner as module
from ggmlrpc_core.server.banner import (
    DeviceSummary,
    advice,
    banner,
    dialects_spoken,
    likely_address,
    warning,
)
from ggmlrpc_core.wire.version import V

LAN = Endpoint("192.0.2.7", 50052)


def test_the_lines_of_the_stock_server():
    devices = [DeviceSummary("CPU", "a processor", 3 << 20, (8 << 20) + 5)]
    assert banner(V(7, 0), Endpoint(), cache=None, devices=devices) == (
        "Starting RPC server v7.0.0\n"
        "  endpoint       : 127.0.0.1:50052\n"
        "  local cache    : n/a\n"
        "Devices:\n"
        "  CPU: a processor (8 MiB, 3 MiB free)\n"
        "  transport      : TCP"
    )


def test_cache_and_unix_socket():
    text = banner(V(7, 0), Endpoint("unix:/run/g", 0), cache=Path("/c"), devices=[])
    assert "  endpoint       : unix:/run/g\n  local cache    : /c\n" in text
    assert text.endswith("  transport      : Unix socket")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_on_loopback_it_says_how_to_let_others_in(host):
    text = advice(Endpoint(host, 50052))
    assert text.endswith(
        "Only this machine can connect. To let others in: ggmlrpc serve -H 0.0.0.0"
    )
    assert advice(Endpoint(host, 5)).endswith("ggmlrpc serve -H 0.0.0.0 -p 5")
    assert warning(Endpoint(host, 50052)) is None


@pytest.mark.parametrize(
    ("host", "shown"), [("::1", "[::1]:5"), ("2001:db8::7", "[2001:db8::7]:5")]
)
def test_over_ipv6_it_says_who_cannot_connect(host, shown):
    assert advice(Endpoint(host, 5)) == (
        f"Only our Python client speaks IPv6: rpc_init('{shown}').\n"
        "The stock client speaks IPv4 only: ggmlrpc serve -H 127.0.0.1"
    )


def test_on_a_network_it_says_what_to_type_and_warns():
    assert advice(LAN) == "On the client: llama-cli --rpc 192.0.2.7:50052 -ngl 99 -m MODEL.gguf"
    assert warning(LAN).startswith(
        "WARNING: 192.0.2.7:50052 can be reached by other machines, and the protocol has no\n"
        "         authentication and no encryption."
    )


def test_a_unix_socket_is_local():
    endpoint = Endpoint("unix:/run/g", 0)
    assert warning(endpoint) is None
    assert "The stock client needs TCP" in advice(endpoint)


def test_the_likely_address_of_a_wildcard(monkeypatch):
    class Probe:
        def __init__(self, family, kind):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

        def connect(self, address):
            if address[0] != "192.0.2.1":
                raise OSError

        def getsockname(self):
            return ("10.1.2.3", 4)

    monkeypatch.setattr(module.socket, "socket", Probe)
    assert likely_address(Endpoint("0.0.0.0", 1)) == "10.1.2.3"
    assert likely_address(LAN) == "192.0.2.7"


def test_without_a_route_the_host_name_is_shown(monkeypatch):
    def no_socket(family, kind):
        raise OSError

    monkeypatch.setattr(module.socket, "socket", no_socket)
    monkeypatch.setattr(module.socket, "gethostname", lambda: "box")
    assert likely_address(Endpoint("::", 1)) == "box"


def test_what_each_listener_announces():
    assert dialects_spoken([(Endpoint(), "7.0.0")]) == []
    assert dialects_spoken([(Endpoint(), "5.1.0")]) == ["127.0.0.1:50052 announces 5.1.0"]
    assert dialects_spoken([(Endpoint(), "7.0.0"), (LAN, "3.6.1")]) == [
        "127.0.0.1:50052 announces 7.0.0",
        "192.0.2.7:50052 announces 3.6.1",
    ]
