"""Lets a checkout run the suite without installing it: the same plugin, loaded only when pytest has not found it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin, which adds its options."""
    if pluginmanager.has_plugin("ggmlrpc_conformance"):
        return
    for package, folder in (("ggmlrpc_conformance", HERE / "src"), ("ggmlrpc_core", HERE.parent)):
        if importlib.util.find_spec(package) is None:
            sys.path.insert(0, str(folder))
    from ggmlrpc_conformance import plugin

    pluginmanager.register(plugin, "ggmlrpc_conformance")
