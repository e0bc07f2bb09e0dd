"""Kernels that are compiled in the background: the reference answers until they are ready."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_cpu.compile import CACHE_VARIABLE, cache_folder
from ggmlrpc_cpu.device import CpuDevice
from ggmlrpc_cpu.plan import CompiledStage, HostStage, host_seconds
from ggmlrpc_cpu.ready import COMPILE_VARIABLE, ReadyKernels, environment_mode

from ggmlrpc_core.errors import PluginError
from ggmlrpc_core.graph.build import GraphBuilder, allocate


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    cache_folder.cache_clear()
    yield
    cache_folder.cache_clear()


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv(COMPILE_VARIABLE, "later")
    with pytest.raises(PluginError, match="GGMLRPC_CPU_COMPILE is later, expected one of"):
        environment_mode()


@pytest.mark.slow
def test_a_child_compiles_while_the_reference_computes(empty_cache):
    device = CpuDevice(1, compile_mode="background")
    b = GraphBuilder()
    x = b.new_tensor("F32", 8)
    out = b.scale(x, 2.0, bias=1.0)
    allocate([out], device)
    made = device.prepare(b.graph(out))
    assert [type(s) for s in made.plan.stages] == [HostStage]
    got = out.buffer.memory[out.offset : out.offset + 32].view(np.float32)
    made.run(lambda: False)
    assert (got == 1).all()
    device._kernels._thread.join()
    got[:] = 0
    made.run(lambda: False)
    assert [type(s) for s in made.plan.stages] == [CompiledStage]
    assert (got == 1).all()
    device.close()


def test_never_compiles_nothing(empty_cache):
    kernels = ReadyKernels("never")
    assert kernels.address("ADD:F32") is None
    assert not kernels.ready(frozenset({"ADD:F32"}))
    kernels.close()


def test_a_kernel_that_does_not_compile_stays_with_the_reference(empty_cache, caplog):
    kernels = ReadyKernels("now")
    kernels._kernels.load("walk")
    assert kernels.address("no such kernel") is None
    assert "using the reference" in caplog.text
    assert not kernels.ready(frozenset({"no such kernel"}))


def test_a_graph_waits_for_kernels_about_as_long_as_the_reference_would_take(monkeypatch):
    device = CpuDevice(1, compile_mode="off")
    b = GraphBuilder()
    out = b.mul_mat(b.new_tensor("F32", 256, 64), b.new_tensor("F32", 256, 1))
    allocate([out], device)
    plan = device.prepare(b.graph(out)).plan
    assert host_seconds(plan) == pytest.approx(5e-5 + 4e-9 * 256 * 64)
    now, naps = [0.0], []
    monkeypatch.setattr("ggmlrpc_cpu.device.time.monotonic", lambda: now[0])

    def sleep(seconds):
        naps.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("ggmlrpc_cpu.device.time.sleep", sleep)
    monkeypatch.setattr("ggmlrpc_cpu.device.host_seconds", lambda plan: 0.11)
    monkeypatch.setattr(device._kernels, "coming", lambda names: True)
    monkeypatch.setattr(device._kernels, "ready", lambda names: False)  # whatever the cache holds
    assert device.renewed(plan, lambda: False) is plan
    assert len(naps) == 7  # until 0.33 s are over
    naps.clear()
    assert device.renewed(plan, lambda: True) is plan
    assert naps == []
    device.close()
