"""From what a user says to a server that runs."""

from types import SimpleNamespace

import pytest

from ggmlrpc_core.device import DeviceInfo
from ggmlrpc_core.errors import LocalProtocolError, PluginError
from ggmlrpc_core.hookspecs import hookimpl
from ggmlrpc_core.plugins import Plugins
from ggmlrpc_core.server import start_server
from ggmlrpc_core.testing.null import NullDevice


class Nulls:
    """A plugin with two pretended devices."""

    opened = None

    @hookimpl
    def ggmlrpc_devices(self):
        return [DeviceInfo("NULL0", "a"), DeviceInfo("NULL1", "b")]

    @hookimpl
    def ggmlrpc_open_device(self, name, n_threads):
        self.opened = (name, n_threads)
        return NullDevice(name, total=1000)


@pytest.fixture
def plugins():
    entry = SimpleNamespace(name="nulls", dist=None, load=Nulls)
    return Plugins([entry], complain=pytest.fail)


def test_devices_threads_and_cache(plugins, client, tmp_path):
    with_cache = start_server(
        "127.0.0.1:0", tmp_path / "c", n_threads=3, devices=["null1", "NULL1"], plugins=plugins
    )
    try:
        one = client(with_cache)
        assert one.call("DEVICE_COUNT") == {"device_count": 2}
        memory = one.call("GET_DEVICE_MEMORY", device=1)
        assert memory == {"free_mem": 500, "total_mem": 500}
        assert [served.name for served in with_cache.devices] == ["NULL1", "NULL1"]
        assert with_cache.cache_directory == tmp_path / "c"
    finally:
        with_cache.close()


def test_the_cache_directory_of_the_stock_server(plugins, monkeypatch, tmp_path):
    monkeypatch.setenv("LLAMA_CACHE", str(tmp_path))
    server = start_server("127.0.0.1:0", "", plugins=plugins)
    assert server.cache_directory == tmp_path / "rpc"
    server.close()


def test_an_older_dialect(plugins, client):
    server = start_server("127.0.0.1:0", dialect="5.1.0", plugins=plugins)
    assert str(client(server).server_version) == "5.1.0"
    server.close()


def test_what_does_not_exist_is_named(plugins):
    with pytest.raises(PluginError, match="expected one of: NULL0, NULL1"):
        start_server("127.0.0.1:0", devices=["CUDA0"], plugins=plugins)
    with pytest.raises(LocalProtocolError, match=r"dialect: name is '1\.2\.3'"):
        start_server("127.0.0.1:0", dialect="1.2.3", plugins=plugins)
