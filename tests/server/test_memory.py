"""Accounts stay true whatever fails when."""

import threading

import pytest

from ggmlrpc_core.server import memory as module
from ggmlrpc_core.server.limits import Budget, ServerLimits
from ggmlrpc_core.server.memory import SessionMemory
from ggmlrpc_core.server.schedule import Schedule, ServedDevice
from ggmlrpc_core.server.services import Services
from ggmlrpc_core.server.worker import DeviceWorker, LaneEnded
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.null import NullDevice


class Box:
    """One session's memory on one device."""

    def __init__(self, limits=ServerLimits()):  # noqa: B008
        self.faults = []
        self.worker = DeviceWorker("N", lambda: ChaosDevice(NullDevice("N", total=1000)))
        self.account = Budget(limits.memory_total)
        devices = [ServedDevice(self.worker)]
        self.schedule = Schedule(devices, self.faults.append, peer_left=lambda: False)
        self.memory = SessionMemory(Services(devices, limits, self.account), self.schedule)

    @property
    def free(self):
        return self.worker.device.inner.memory()[0]


@pytest.fixture
def box():
    made = Box()
    yield made
    made.worker.stop()


def test_allocate_and_free(box):
    owned = box.memory.allocate(0, 300)
    assert (owned.bound.size, box.account.used, box.free) == (300, 300, 700)
    box.memory.free(owned)
    box.schedule.settle(0)
    assert (box.account.used, box.free, len(box.memory.table)) == (0, 1000, 0)
    box.memory.close()


def test_what_does_not_fit_costs_nothing(box):
    assert box.memory.allocate(0, 1001) is None
    box.worker.device.fail_allocs = 1
    assert box.memory.allocate(0, 10) is None
    assert (box.account.used, box.free) == (0, 1000)
    box.memory.close()


def test_no_address_left_gives_the_memory_back(box, monkeypatch):
    monkeypatch.setattr(box.memory.table, "add", lambda *args, **kwargs: None)
    assert box.memory.allocate(0, 10) is None
    box.schedule.settle(0)
    assert (box.account.used, box.free) == (0, 1000)
    box.memory.close()


def test_close_frees_what_lives_and_what_was_about_to_be_freed(box):
    kept, leaving = box.memory.allocate(0, 100), box.memory.allocate(0, 200)
    gate = threading.Event()
    box.schedule.submit(0, lambda: gate.wait(20))
    box.memory.free(leaving)  # queued behind the gate, and dropped by close
    threading.Timer(0.01, gate.set).start()
    box.memory.close()
    assert (box.account.used, box.free) == (0, 1000)
    assert box.memory.table.get(kept.handle) is None


def test_close_after_a_fault_frees_too(box):
    box.memory.allocate(0, 100)
    box.schedule.submit(0, lambda: 1 / 0)
    with pytest.raises(LaneEnded):
        box.memory.allocate(0, 200)
    box.memory.close()
    assert (box.account.used, box.free, len(box.faults)) == (0, 1000, 1)


def test_sizes_above_the_address_space_never_reach_the_device(box, monkeypatch):
    monkeypatch.setattr(module, "HIGHEST_ADDRESS", 50)
    box.worker.device.alloc = lambda size: pytest.fail("asked the device")
    assert box.memory.allocate(0, 51) is None
    box.memory.close()


def test_one_buffer_that_cannot_be_freed_keeps_no_other(box, monkeypatch):
    first, second = box.memory.allocate(0, 100), box.memory.allocate(0, 200)
    monkeypatch.setattr(first.memory, "free", lambda: 1 / 0, raising=False)
    box.memory.close()
    assert box.account.used == 0
    assert box.free == 1000 - 100
    assert second.memory is not None
