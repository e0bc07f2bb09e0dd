"""ChaosDevice: each misbehaviour on demand, and the right behaviour without."""

from __future__ import annotations

import threading

import pytest

from ggmlrpc_core.errors import DeviceError, GraphStopped, OutOfDeviceMemory
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import read, run_case, write


@pytest.fixture
def device():
    return ChaosDevice(ReferenceDevice(), piece=7, host_memory=False)


def graph_on(device):
    b = GraphBuilder()
    y = b.scale(b.new_tensor("F32", 4), 2.0)
    allocate([y], device)
    return b.graph(y)


def test_allocations_fail_as_often_as_told(device):
    device.fail_allocs = 2
    for _ in range(2):
        with pytest.raises(OutOfDeviceMemory):
            device.alloc(8)
    assert device.alloc(8).size == 8


def test_bytes_are_there_only_after_commit(device):
    buffer = device.alloc(20)
    view = buffer.writable(3, 10)
    assert len(view) == 7
    view[:] = b"abcdefg"
    assert read(buffer, 0, 20) == bytes(20)
    buffer.commit(3, 7)
    assert read(buffer, 0, 20) == b"\0\0\0abcdefg" + bytes(10)
    assert [len(piece) for piece in buffer.read(0, 20)] == [7, 7, 6]


def test_copies_can_be_declined(device):
    a, b = device.alloc(8), device.alloc(8)
    write(a, 0, b"12345678")
    assert b.copy_from(a, 0, 0, 8) and read(b, 0, 8) == b"12345678"
    device.decline_copies = True
    assert not b.copy_from(a, 0, 0, 8)


def test_a_run_fails_once(device):
    executable = device.prepare(graph_on(device))
    device.fail_run = DeviceError("run", "state", "broken", "whole")
    with pytest.raises(DeviceError, match="broken"):
        executable.run(lambda: False)
    executable.run(lambda: False)
    assert device.n_runs == 1
    device.fail_synchronize = DeviceError("synchronize", "state", "broken", "whole")
    with pytest.raises(DeviceError):
        device.synchronize()
    device.synchronize()


def test_a_held_run_stops_when_asked_and_goes_on_when_let(device):
    executable = device.prepare(graph_on(device))
    device.go.clear()
    with pytest.raises(GraphStopped):
        executable.run(lambda: True)
    runner = threading.Thread(target=executable.run, args=(lambda: False,))
    device.running.clear()
    runner.start()
    assert device.running.wait(5) and runner.is_alive()
    device.go.set()
    runner.join(5)
    assert device.n_runs == 1


def test_calls_from_another_thread_are_noted(device):
    other = threading.Thread(target=device.memory, name="other")
    other.start()
    other.join()
    assert device.violations == ["memory on thread 'other'"]


def test_it_computes_as_the_inner_device(device):
    assert run_case(all_cases()["GRAPH/feed forward"], device) == 0.0
