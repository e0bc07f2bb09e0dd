"""check_device: accepts a right device, and names what is wrong with a wrong one."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.check_device import DeviceCheckFailed, check_device
from ggmlrpc_core.testing.host import HostBuffer, host_array
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.testing.reference import ReferenceDevice, ReferenceExecutable

FEW = tuple(all_cases()[name] for name in ("ADD/F32 inplace", "MUL_MAT/Q4_0 k=256 m=16 n=1"))


def failures_of(open_device) -> dict[str, str]:
    with pytest.raises(DeviceCheckFailed) as caught:
        check_device(open_device, cases=FEW)
    assert caught.value.report.n_cases == len(FEW)
    return dict(sentence.split(": ", 1) for sentence in caught.value.failures)


def test_the_reference_passes_everything():
    device = ReferenceDevice()
    report = check_device(lambda: device)
    assert device.closed and report.n_cases == len(all_cases())
    assert max(report.worst.values()) == 0.0 and report.host_stages == set()


def test_short_pieces_and_staged_writes_pass():
    device = ChaosDevice(ReferenceDevice(), piece=13, host_memory=False)
    assert check_device(lambda: device, cases=FEW).n_cases == len(FEW)
    assert device.violations == []


def test_a_device_that_computes_nothing_fails():
    failures = failures_of(NullDevice)
    assert failures["values_now"] == "result is nan, expected 3.0"
    assert {case.name for case in FEW} < set(failures)
    assert not {"facts", "write_and_read", "copy_inside", "fill"} & set(failures)


def test_dirty_memory_is_found():
    class Dirty(ReferenceDevice):
        def alloc(self, size):
            buffer = super().alloc(size)
            buffer.memory[-1:] = 1
            return buffer

    assert "not zero" in failures_of(Dirty)["fresh_memory_is_zero"]


def test_a_leak_and_an_endless_memory_are_found():
    class Leak(ReferenceDevice):
        def give_back(self, size):
            pass

    class Endless(ReferenceDevice):
        def alloc(self, size):
            return super().alloc(min(size, 1 << 16))

    leak = failures_of(lambda: Leak(total=32 << 20))
    assert "OutOfDeviceMemory" in leak["memory_follows_allocations"]
    assert "expected OutOfDeviceMemory" in failures_of(Endless)["absurd_size"]


def test_a_copy_that_does_not_mind_overlap_is_found():
    class Forward(HostBuffer):
        def copy_from(self, src, src_offset, dst_offset, size):
            for i in range(size):
                self.memory[dst_offset + i] = src.memory[src_offset + i]
            return True

    class Device(ReferenceDevice):
        def alloc(self, size):
            super().alloc(size).free()
            self._used += size
            return Forward(self, size)

    assert "copy of 4000 bytes from 0 to 1" in failures_of(Device)["copy_inside"]


class Wrong(ReferenceDevice):
    """Prepares what `make` returns."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def prepare(self, graph):
        return self.make(super().prepare(graph), graph)


class Executable(ReferenceExecutable):
    """Runs, then does something."""

    def __init__(self, graph, after):
        super().__init__(graph)
        self.after = after

    def run(self, should_stop):
        super().run(should_stop)
        self.after(self._graph)


def test_a_small_error_is_found():
    def after(graph):
        for node in graph.work:
            if node.op == "MUL_MAT":
                host_array(node)[..., 0] *= 1.2

    failures = failures_of(lambda: Wrong(lambda executable, graph: Executable(graph, after)))
    assert set(failures) == {"MUL_MAT/Q4_0 k=256 m=16 n=1", "weights_change_between_runs"}


def test_bytes_written_beside_the_result_are_found():
    def after(graph):
        for node in graph.work:
            if node.op == "MUL_MAT":
                node.src[0].buffer.memory[node.src[0].offset] ^= 1

    failures = failures_of(lambda: Wrong(lambda executable, graph: Executable(graph, after)))
    assert failures["MUL_MAT/Q4_0 k=256 m=16 n=1"].startswith("byte 0 of the buffer changed")


def test_stale_weights_are_found():
    kept = {}

    class Stale(ReferenceExecutable):
        def run(self, should_stop):
            for node in self._graph.work:
                if node.op == "MUL_MAT":
                    w = host_array(node.src[0])
                    w[...] = kept.setdefault(node, w.copy())
            super().run(should_stop)

    failures = failures_of(lambda: Wrong(lambda executable, graph: Stale(graph)))
    assert "F16 weights, n=1, one block written" in failures["weights_change_between_runs"]


def test_results_that_differ_from_run_to_run_are_found():
    rng = np.random.default_rng(0)

    def after(graph):
        for node in graph.work:
            if node.op == "SUM":
                host_array(node)[...] += rng.uniform()

    failures = failures_of(lambda: Wrong(lambda executable, graph: Executable(graph, after)))
    assert failures == {"run twice SUM/F32": "two runs of one graph gave different bits"}


def test_a_plan_that_outlives_its_buffer_is_found():
    kept = []
    failures = failures_of(
        lambda: Wrong(lambda executable, graph: kept.append(graph) or executable)
    )
    assert set(failures) == {"freed_buffers_are_let_go"}


def test_ignoring_should_stop_and_ids_is_found():
    class Deaf:
        def __init__(self, executable):
            self.executable = executable

        def run(self, should_stop):
            try:
                self.executable.run(lambda: False)
            except Exception as exc:
                assert "id" in str(exc)

    failures = failures_of(lambda: Wrong(lambda executable, graph: Deaf(executable)))
    assert set(failures) == {"should_stop", "bad_ids"}


def test_plans_found_by_shape_alone_are_found():
    plans = {}

    def make(executable, graph):
        shape = tuple(chain.from_iterable((n.op, n.ne) for n in graph.nodes))
        return plans.setdefault(shape, executable)

    failures = failures_of(lambda: Wrong(make))
    assert {"two_graphs", "plan_of_a_freed_buffer"} <= set(failures)
