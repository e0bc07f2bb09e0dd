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


@pytest.mark.slow
def test_kernels_of_several_processes_do_not_mix(tmp_path):
    """Functions of one name in two kernels, each compiled by a process of its own, and loaded by a third."""
    environment = {**os.environ, "GGMLRPC_CPU_CACHE": str(tmp_path), "GGMLRPC_CPU_COMPILE": "now"}
    program = """
import sys
from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.run_case import run_case
from ggmlrpc_cpu.device import CpuDevice
device = CpuDevice(1)
for name in sys.argv[1:]:
    run_case(all_cases()[f"MUL_MAT/{name} k=256 m=16 n=1"], device)
device.close()
"""
    run = [sys.executable, "-c", program, "Q4_1", "MXFP4"]
    compiles = [
        [sys.executable, "-m", "ggmlrpc_cpu.warm", f"MUL_MAT:dot:{n}"] for n in ("Q4_1", "MXFP4")
    ]
    for command in (*compiles, run):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stderr) == (0, "")


def test_functions_are_numbered_from_a_random_place():
    """Each process has a place of its own; see _number_functions_apart."""
    from numba.core.bytecode import FunctionIdentity

    compiling.import_kernels()
    assert next(FunctionIdentity._unique_ids) > 1 << (compiling.NUMBER_BITS - 30)
