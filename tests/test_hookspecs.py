"""Each hook has a test, and a plugin that implements them is called."""

import inspect

import pluggy

from ggmlrpc_core import hookspecs
from ggmlrpc_core.device import Device, DeviceInfo
from ggmlrpc_core.testing import NullDevice

HOOKS = {
    name
    for name, _ in inspect.getmembers(hookspecs, inspect.isfunction)
    if name.startswith("ggmlrpc_")
}


class Plugin:
    @hookspecs.hookimpl
    def ggmlrpc_devices(self):
        return [DeviceInfo("MINE0", "a device")]

    @hookspecs.hookimpl
    def ggmlrpc_open_device(self, name, n_threads):
        return NullDevice(name=name) if name == "MINE0" else None

    @hookspecs.hookimpl
    def ggmlrpc_warm(self, name):
        return iter([(1, 1, "all")]) if name == "MINE0" else None


def manager():
    pm = pluggy.PluginManager("ggmlrpc")
    pm.add_hookspecs(hookspecs)
    pm.register(Plugin())
    pm.check_pending()
    return pm


def test_hook_ggmlrpc_devices():
    (found,) = manager().hook.ggmlrpc_devices()
    assert found == [DeviceInfo("MINE0", "a device", accelerator=False, plugin="")]


def test_hook_ggmlrpc_open_device():
    device = manager().hook.ggmlrpc_open_device(name="MINE0", n_threads=None)
    assert isinstance(device, Device)
    assert device.name == "MINE0"
    assert manager().hook.ggmlrpc_open_device(name="OTHER", n_threads=None) is None


def test_hook_ggmlrpc_warm():
    assert list(manager().hook.ggmlrpc_warm(name="MINE0")) == [(1, 1, "all")]
    assert manager().hook.ggmlrpc_warm(name="OTHER") is None


def test_every_hook_has_a_test():
    assert {
        name.removeprefix("test_hook_") for name in globals() if name.startswith("test_hook_")
    } == HOOKS
