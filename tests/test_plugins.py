"""Loading of plugins: broken ones are named and left out, the others work."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from ggmlrpc_core.device import DeviceInfo
from ggmlrpc_core.errors import PluginError
from ggmlrpc_core.hookspecs import hookimpl
from ggmlrpc_core.plugins import Plugins, slots_of


@dataclass
class Entry:
    """An entry point without a file behind it."""

    name: str
    plugin: Any
    version: str = "1.2.3"

    @property
    def dist(self):
        return SimpleNamespace(name=f"ggmlrpc-{self.name}", version=self.version)

    def load(self):
        if isinstance(self.plugin, Exception):
            raise self.plugin
        return self.plugin


class Offers:
    """A plugin with the devices that it is told."""

    def __init__(self, *devices: DeviceInfo):
        self.devices = list(devices)

    @hookimpl
    def ggmlrpc_devices(self):
        return self.devices

    @hookimpl
    def ggmlrpc_open_device(self, name, n_threads):
        if name in [device.name for device in self.devices]:
            return SimpleNamespace(name=name, n_threads=n_threads)
        return None


class Warms:
    @hookimpl
    def ggmlrpc_warm(self, name):
        if name == "GPU9":
            raise RuntimeError("no compiler")
        return iter([(1, 2, "a"), (2, 2, "b")]) if name == "GPU0" else None


class Misspelled:
    @hookimpl
    def ggmlrpc_device(self):
        return []


class Raises:
    @hookimpl
    def ggmlrpc_devices(self):
        raise RuntimeError("driver is too old\nsecond line")

    @hookimpl
    def ggmlrpc_open_device(self, name, n_threads):
        if name == "GPU9":
            raise RuntimeError("no such card")


CPU = DeviceInfo("CPU", "a processor")
GPU0 = DeviceInfo("GPU0", "a card", accelerator=True)
GPU1 = DeviceInfo("GPU1", "a card", accelerator=True)


def load(*entries, **kwargs):
    """Plugins of these entries, and the list that complaints go to."""
    complaints = []
    return Plugins(entries, complain=complaints.append, **kwargs), complaints


def test_accelerators_come_first_and_name_their_plugin():
    plugins, complaints = load(Entry("cpu", Offers(CPU)), Entry("gpu", Offers(GPU0, GPU1)))
    assert [(d.name, d.plugin) for d in plugins.devices()] == [
        ("GPU0", "gpu"),
        ("GPU1", "gpu"),
        ("CPU", "cpu"),
    ]
    assert complaints == []


def test_choose_takes_all_accelerators_or_the_first_other_device():
    both, _ = load(Entry("cpu", Offers(CPU)), Entry("gpu", Offers(GPU0, GPU1)))
    assert [d.name for d in both.choose()] == ["GPU0", "GPU1"]
    alone, _ = load(Entry("cpu", Offers(CPU, DeviceInfo("CPU1", "another"))))
    assert [d.name for d in alone.choose()] == ["CPU"]


def test_choose_keeps_order_and_repetitions_and_ignores_case():
    plugins, _ = load(Entry("cpu", Offers(CPU)), Entry("gpu", Offers(GPU0)))
    chosen = plugins.choose(["cpu", "GPU0", "CPU"])
    assert [d.name for d in chosen] == ["CPU", "GPU0", "CPU"]
    assert [slot.share for slot in slots_of(chosen)] == [2, 1, 2]


def test_choose_names_what_there_is():
    plugins, _ = load(Entry("cpu", Offers(CPU)), Entry("gpu", Offers(GPU0)))
    with pytest.raises(PluginError) as info:
        plugins.choose(["GPU7"])
    assert str(info.value) == "--device: name is GPU7, expected one of: GPU0, CPU"


def test_no_device_at_all_gives_a_hint():
    plugins, _ = load()
    with pytest.raises(PluginError) as info:
        plugins.choose()
    assert str(info.value) == (
        "devices: number of devices is 0, expected at least 1 [hint: pip install ggmlrpc-cpu]"
    )


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (
            ModuleNotFoundError("No module named 'cupy'"),
            "plugin ggmlrpc-bad 0.9: it cannot be loaded: ModuleNotFoundError: No module named 'cupy'",
        ),
        (
            Misspelled(),
            "plugin ggmlrpc-bad 0.9: it cannot be loaded: PluginValidationError: unknown hook 'ggmlrpc_device'",
        ),
        (
            Raises(),
            "plugin ggmlrpc-bad 0.9: ggmlrpc_devices raised RuntimeError: driver is too old",
        ),
    ],
)
def test_a_broken_plugin_is_named_and_the_rest_go_on(broken, sentence):
    plugins, complaints = load(Entry("bad", broken, "0.9"), Entry("cpu", Offers(CPU)))
    assert [d.name for d in plugins.devices()] == ["CPU"]
    assert len(complaints) == 1
    assert complaints[0].startswith(sentence)
    bad, good = plugins.plugins()
    assert bad.problem and not good.problem
    assert good.hooks == ("ggmlrpc_devices", "ggmlrpc_open_device")
    assert plugins.open_device("CPU").name == "CPU"


def test_hook_ggmlrpc_devices():
    plugins, _ = load(Entry("gpu", Offers(GPU1, GPU0)))
    assert [d.name for d in plugins.devices()] == ["GPU1", "GPU0"]


def test_a_device_on_request_is_served_only_when_it_is_named():
    slow = DeviceInfo("SLOW", "for tests", accelerator=True, on_request=True)
    plugins, _ = load(Entry("a", Offers(slow)), Entry("cpu", Offers(CPU)))
    assert [d.name for d in plugins.devices()] == ["CPU", "SLOW"]
    assert [d.name for d in plugins.choose()] == ["CPU"]
    assert [d.name for d in plugins.choose(["slow"])] == ["SLOW"]
    alone, _ = load(Entry("a", Offers(slow)))
    with pytest.raises(PluginError, match="number of devices is 0, expected at least 1"):
        alone.choose()


def test_an_alias_chooses_its_device_unless_another_one_has_the_name():
    metal = DeviceInfo("Metal", "a GPU", aliases=("MTL0", "CPU"))
    plugins, _ = load(Entry("a", Offers(metal)), Entry("cpu", Offers(CPU)))
    assert [d.name for d in plugins.choose(["mtl0", "CPU"])] == ["Metal", "CPU"]


def test_hook_ggmlrpc_open_device():
    plugins, _ = load(Entry("cpu", Offers(CPU)), Entry("gpu", Offers(GPU0)))
    device = plugins.open_device("GPU0", 3)
    assert (device.name, device.n_threads) == ("GPU0", 3)
    with pytest.raises(PluginError) as info:
        plugins.open_device("GPU9")
    assert str(info.value) == "open_device: name is GPU9, expected a device that a plugin opens"


def test_hook_ggmlrpc_warm():
    plugins, _ = load(Entry("cpu", Offers(CPU)), Entry("gpu", Warms(), "0.9"))
    assert list(plugins.warm("GPU0")) == [(1, 2, "a"), (2, 2, "b")]
    assert list(plugins.warm("CPU")) == []
    with pytest.raises(PluginError) as info:
        list(plugins.warm("GPU9"))
    assert str(info.value) == (
        "plugin ggmlrpc-gpu 0.9: warm('GPU9') is RuntimeError: no compiler, expected everything made"
    )


def test_open_device_names_the_plugin_that_cannot():
    plugins, _ = load(Entry("bad", Raises(), "0.9"))
    with pytest.raises(PluginError) as info:
        plugins.open_device("GPU9")
    assert str(info.value) == (
        "plugin ggmlrpc-bad 0.9: open_device('GPU9') is RuntimeError: no such card, expected an open device"
    )


def test_a_name_that_is_taken_is_left_out():
    plugins, complaints = load(Entry("a", Offers(CPU)), Entry("b", Offers(CPU)))
    assert [d.plugin for d in plugins.devices()] == ["a"]
    assert complaints == [
        "plugin ggmlrpc-b 1.2.3: device 'CPU' is left out, expected a name that no other plugin uses [a]"
    ]


def test_load_variable_limits_and_names_what_is_missing(monkeypatch):
    monkeypatch.setenv("GGMLRPC_LOAD_PLUGINS", "cpu, metal")
    plugins, complaints = load(Entry("cpu", Offers(CPU)), Entry("gpu", Offers(GPU0)))
    assert [p.name for p in plugins.plugins()] == ["cpu"]
    assert complaints == ["plugin metal: entry point is missing, expected one of: cpu, gpu"]


def test_trace_variable_prints_calls(monkeypatch, capsys):
    monkeypatch.setenv("GGMLRPC_TRACE_PLUGINS", "1")
    plugins, _ = load(Entry("cpu", Offers(CPU)))
    plugins.open_device("CPU", 2)
    shown = capsys.readouterr().err
    assert "ggmlrpc_open_device [hook]" in shown
    assert "n_threads: 2" in shown


def test_the_installed_plugins_load():
    complaints = []
    plugins = Plugins(complain=complaints.append)
    assert complaints == []
    assert all(not p.problem for p in plugins.plugins())
