"""The registry of kernels and their cache on disk."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from ggmlrpc_cpu import compile as compiling
from ggmlrpc_cpu.compile import CACHE_VARIABLE, Kernels, cache_folder, is_cached, kernel

from ggmlrpc_core.errors import PluginError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    cache_folder.cache_clear()
    yield tmp_path
    cache_folder.cache_clear()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_cache_is_the_user_s_alone(folder):
    made = cache_folder()
    assert made.parent == folder
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_cache_that_others_may_write_to_is_refused(folder):
    cache_folder().chmod(0o777)
    cache_folder.cache_clear()
    with pytest.raises(PluginError, match="nobody else may write to"):
        cache_folder()


def test_a_kernel_is_kept_and_found_again(folder):
    assert not is_cached("from_f32:F32")
    assert Kernels().load("from_f32:F32")
    assert is_cached("from_f32:F32")
    written = {p.name for p in cache_folder().iterdir()}
    assert written == {"from_f32-F32.nbi", "from_f32-F32.1.nbc"}
    assert Kernels().load("from_f32:F32")


def test_names_are_unique(monkeypatch):
    monkeypatch.setattr(compiling, "REGISTRY", {"x": print})
    with pytest.raises(ValueError, match="kernel x is registered twice"):
        kernel("x")(print)


def test_importing_the_plugin_imports_no_compiler():
    code = "import ggmlrpc_cpu, ggmlrpc_cpu.device, sys; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
