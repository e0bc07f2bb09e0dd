"""`ggmlrpc plugins`: a table for people, JSON for programs."""

import json

import pytest

from ggmlrpc_core.cli import plugins
from ggmlrpc_core.device import DeviceInfo
from ggmlrpc_core.plugins import PluginInfo


@pytest.fixture(autouse=True)
def pretended(monkeypatch):
    class Pretended:
        def __init__(self, complain):
            complain("plugin b 0.1: it cannot be loaded: ImportError: no b")

        def plugins(self):
            return [
                PluginInfo("a", "ggmlrpc-a", "1.0", ("ggmlrpc_devices",)),
                PluginInfo("b", "b", "0.1", problem="it cannot be loaded: ImportError: no b"),
            ]

        def devices(self):
            return [DeviceInfo("A0", "a card", True, "a"), DeviceInfo("A1", "a card", True, "a")]

    monkeypatch.setattr("ggmlrpc_core.plugins.Plugins", Pretended)


def test_json(capsys):
    plugins.command.main(["--json"], standalone_mode=False)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == [
        {
            "name": "a",
            "distribution": "ggmlrpc-a",
            "version": "1.0",
            "hooks": ["ggmlrpc_devices"],
            "devices": [
                {"name": "A0", "description": "a card", "accelerator": True},
                {"name": "A1", "description": "a card", "accelerator": True},
            ],
            "problem": "",
        },
        {
            "name": "b",
            "distribution": "b",
            "version": "0.1",
            "hooks": [],
            "devices": [],
            "problem": "it cannot be loaded: ImportError: no b",
        },
    ]
    assert captured.err == "plugin b 0.1: it cannot be loaded: ImportError: no b\n"


def test_table(capsys):
    plugins.command.main([], standalone_mode=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["plugin", "version", "devices", "hooks"]
    assert lines[1] == ["a", "1.0", "A0,", "A1", "ggmlrpc_devices"]
    assert " ".join(lines[2]) == "b 0.1 it cannot be loaded: ImportError: no b"
