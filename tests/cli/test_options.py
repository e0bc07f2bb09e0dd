"""Sizes and lists on a command line."""

import click
import pytest

from ggmlrpc_core.cli.options import LISTEN, NETWORK, SIZE, listen_endpoint, split_names


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("4096", 4096), ("512M", 512 << 20), ("16G", 16 << 30), ("1.5k", 1536),
        ("2TiB", 2 << 40), ("3GB", 3 << 30), (7, 7),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "-1", "1X", "G", "1 2", "0x10"])
def test_no_sizes(text):
    with pytest.raises(click.BadParameter, match="is not a size such as 512M or 16G"):
        SIZE.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, []), ("CPU", ["CPU"]), ("CUDA0,CUDA1/CPU", ["CUDA0", "CUDA1", "CPU"]), (",A,/", ["A"])],
)
def test_names(text, names):
    assert split_names(text) == names


@pytest.mark.parametrize(
    ("text", "where", "name"),
    [
        ("50053=3.6.1", "50053", "3.6.1"),
        ("0.0.0.0:50053=2.0.0@2025-08-05", "0.0.0.0:50053", "2.0.0@2025-08-05"),
        ("unix:/run/a=b=auto", "unix:/run/a=b", "auto"),
    ],
)
def test_listeners(text, where, name):
    assert LISTEN.convert(text, None, None) == (where, name)
    assert LISTEN.convert((where, name), None, None) == (where, name)


@pytest.mark.parametrize("text", ["50053", "=3.6.1", "50053=", ""])
def test_no_listeners(text):
    with pytest.raises(
        click.BadParameter, match=r"is not a port and a dialect such as 50053=3\.6\.1"
    ):
        LISTEN.convert(text, None, None)


@pytest.mark.parametrize(
    ("where", "host", "endpoint"),
    [
        ("50053", "127.0.0.1", "127.0.0.1:50053"),
        ("50053", "::", "[::]:50053"),
        ("50053", "unix:/s", "127.0.0.1:50053"),
        ("host:1", "127.0.0.1", "host:1"),
    ],
)
def test_a_port_alone_is_on_the_host_of_the_server(where, host, endpoint):
    assert listen_endpoint(where, host) == endpoint


def test_networks():
    assert str(NETWORK.convert("192.168.1.7/24", None, None)) == "192.168.1.0/24"
    assert str(NETWORK.convert("::1", None, None)) == "::1/128"
    with pytest.raises(
        click.BadParameter, match=r"'lan' is not a network such as 192\.168\.1\.0/24 or fd00::/8"
    ):
        NETWORK.convert("lan", None, None)
