"""Compiling everything that is missing, in child processes."""

import pytest
from ggmlrpc_cpu import compile as compile_module
from ggmlrpc_cpu import warm_all as module
from ggmlrpc_cpu.warm_all import missing, warm_all

from ggmlrpc_core.errors import PluginError


@pytest.fixture
def cold(tmp_path, monkeypatch):
    """An empty folder for kernels, and only a few of them."""
    monkeypatch.setenv("GGMLRPC_CPU_CACHE", str(tmp_path))
    monkeypatch.delenv("GGMLRPC_CPU_COMPILE", raising=False)
    compile_module.import_kernels()
    few = sorted(compile_module.REGISTRY)[:2]
    monkeypatch.setattr(module, "REGISTRY", dict.fromkeys(few))
    compile_module.cache_folder.cache_clear()
    yield few
    compile_module.cache_folder.cache_clear()


@pytest.mark.slow
def test_what_is_missing_is_compiled_and_counted(cold):
    assert missing() == cold
    steps = list(warm_all(2))
    assert [(done, total) for done, total, _ in steps] == [(1, 2), (2, 2)]
    assert sorted(name for _, _, name in steps) == cold
    assert missing() == []
    assert list(warm_all()) == []


def test_what_does_not_compile_is_named(cold, monkeypatch):
    monkeypatch.setattr(module, "REGISTRY", {"NO:KERNEL": None})
    with pytest.raises(
        PluginError, match="kernels that do not compile is NO:KERNEL, expected none"
    ):
        list(warm_all(1))


def test_without_a_compiler_nothing_is_missing(cold, monkeypatch):
    monkeypatch.setattr(module, "environment_mode", lambda: "off")
    assert missing() == []
