"""`ggmlrpc devices`: PASS for a device that computes, FAIL with the reason for the rest."""

import pytest

from ggmlrpc_core.cli import devices
from ggmlrpc_core.cli.devices import multiply
from ggmlrpc_core.device import DeviceInfo
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.testing.reference import ReferenceDevice


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command over pretended devices."""

    opens = {
        "GOOD": lambda: ReferenceDevice("GOOD"),
        "IDLE": lambda: NullDevice("IDLE"),
        "GONE": lambda: 1 / 0,
    }

    class Pretended:
        def __init__(self, complain):
            pass

        def devices(self):
            shown = [DeviceInfo(name, f"the {name}") for name in opens]
            return [*shown, DeviceInfo("SHY", "not opened by itself", on_request=True)]

        def choose(self, names=()):
            return [info for info in self.devices() if info.name in names]

        def open_device(self, name, n_threads):
            return opens[name]()

    monkeypatch.setattr("ggmlrpc_core.plugins.Plugins", Pretended)

    def go(*words):
        code = devices.command.main(list(words), standalone_mode=False)
        return code, capsys.readouterr().out.splitlines()

    return go


def test_each_device_is_judged(run):
    code, lines = run()
    assert code == 1
    assert [line.split()[0] for line in lines[1:]] == ["GOOD", "IDLE", "GONE"]
    assert lines[1].split()[-1] == "PASS"
    assert "FAIL relative error of a product is 1.0e+00, expected at most 1e-06" in lines[2]
    assert "FAIL ZeroDivisionError: division by zero" in lines[3]


def test_only_these(run):
    code, lines = run("-d", "GOOD")
    assert code == 0
    assert len(lines) == 2 and "1024 MiB, 1024 MiB free" in lines[1]


def test_short_pieces_and_memory_of_its_own():
    device = ChaosDevice(ReferenceDevice("R"), piece=100, host_memory=False)
    assert multiply(device) == ""
    assert device.violations == []
    assert device.memory()[0] == device.memory()[1]
