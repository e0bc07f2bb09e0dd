"""Order of one session's work over devices."""

import threading

import pytest

from ggmlrpc_core.errors import ConnectionLost
from ggmlrpc_core.server import schedule as module
from ggmlrpc_core.server.schedule import Schedule, ServedDevice
from ggmlrpc_core.server.worker import DeviceWorker, LaneEnded
from ggmlrpc_core.testing.null import NullDevice


@pytest.fixture
def devices():
    workers = [DeviceWorker(name, lambda: NullDevice("N")) for name in ("A", "B")]
    yield [ServedDevice(worker) for worker in workers]
    for worker in workers:
        worker.stop()


@pytest.fixture
def schedule(devices):
    made = Schedule(devices, pytest.fail, peer_left=lambda: False)
    yield made
    made.close([lambda: None] * 2)


@pytest.fixture
def gate(schedule):
    """Keeps device 0 busy with a job that touches both devices, until it is set."""
    gate = threading.Event()
    schedule.submit(0, lambda: gate.wait(20), touches=(0, 1))
    yield gate
    gate.set()


def in_background(function, *args, **kwargs):
    thread = threading.Thread(target=function, args=args, kwargs=kwargs)
    thread.start()
    return thread


def test_call_gives_the_result(schedule):
    assert schedule.call(1, lambda: 42) == 42


def test_settle_waits_for_a_job_of_another_device_that_touches_this_one(schedule, gate):
    thread = in_background(schedule.settle, 1)
    thread.join(0.02)
    assert thread.is_alive()
    gate.set()
    thread.join(20)
    assert not thread.is_alive()


def test_submit_waits_for_what_touches_its_device_from_elsewhere(schedule, gate):
    ran = []
    thread = in_background(schedule.submit, 1, lambda: ran.append("B"))
    thread.join(0.02)
    assert ran == []
    gate.set()
    thread.join(20)
    schedule.settle(1)
    assert ran == ["B"]


def test_settle_synchronizes_once_per_run(schedule, devices):
    calls = []
    devices[0].worker.device.synchronize = lambda: calls.append("sync")
    schedule.settle(0)
    assert calls == []
    schedule.submit(0, lambda: calls.append("run"))
    schedule.settle(0)
    schedule.settle(0)
    assert calls == ["run", "sync"]


def test_work_elsewhere_begins_after_the_device_has_synchronized(schedule, devices):
    calls = []
    devices[0].worker.device.synchronize = lambda: calls.append("sync A")
    schedule.submit(0, lambda: calls.append("A"), touches=(0, 1))  # may go on after it returned
    schedule.submit(1, lambda: calls.append("B"))
    schedule.settle(1)
    assert calls == ["A", "sync A", "B"]


def test_close_frees_after_every_device_has_synchronized(devices):
    schedule, calls = Schedule(devices, pytest.fail, peer_left=lambda: False), []
    for name, served in zip("AB", devices):
        served.worker.device.synchronize = lambda name=name: calls.append(f"sync {name}")
    schedule.submit(1, lambda: None, touches=(0, 1))
    schedule.close([lambda name=name: calls.append(f"free {name}") for name in "AB"])
    assert sorted(calls[:2]) == ["sync A", "sync B"]
    assert sorted(calls[2:]) == ["free A", "free B"]


def test_a_failed_job_shows_at_the_next_wait(devices):
    faults = []
    schedule = Schedule(devices, faults.append, peer_left=lambda: False)
    schedule.submit(0, lambda: 1 / 0)
    with pytest.raises(LaneEnded):
        schedule.settle(0)
    assert [type(fault) for fault in faults] == [ZeroDivisionError]
    schedule.close([lambda: None] * 2)


def test_a_peer_that_leaves_ends_the_wait(devices, monkeypatch):
    monkeypatch.setattr(module, "PEER_CHECK_SECONDS", 0.001)
    schedule, gate = Schedule(devices, pytest.fail, peer_left=lambda: True), threading.Event()
    schedule.submit(0, lambda: gate.wait(20))
    with pytest.raises(ConnectionLost, match="peer is gone, expected there while a graph runs"):
        schedule.settle(0)
    gate.set()
    schedule.close([lambda: None] * 2)


def test_a_flood_of_jobs_is_held_back(schedule, monkeypatch):
    monkeypatch.setattr(module, "MOST_QUEUED", 4)
    gate, sent = threading.Event(), []
    schedule.submit(0, lambda: gate.wait(20))

    def flood():
        for i in range(20):
            schedule.submit(0, lambda: None)
            sent.append(i)

    thread = in_background(flood)
    thread.join(0.05)
    assert len(sent) <= 5
    gate.set()
    thread.join(20)
    assert len(sent) == 20


def test_heavy_jobs_are_held_back_by_their_sum(schedule, monkeypatch):
    monkeypatch.setattr(module, "MOST_WEIGHT", 10)
    gate, sent = threading.Event(), []
    schedule.submit(0, lambda: gate.wait(20))

    def flood():
        for i in range(9):
            schedule.submit(0, lambda: None, weight=4)
            sent.append(i)

    thread = in_background(flood)
    thread.join(0.05)
    assert len(sent) <= 2
    gate.set()
    thread.join(20)
    assert len(sent) == 9


def test_one_job_may_be_as_heavy_as_it_likes(schedule, monkeypatch):
    monkeypatch.setattr(module, "MOST_WEIGHT", 10)
    assert schedule.call(0, lambda: 1) == 1
    assert schedule.submit(1, lambda: 2, weight=11).wait(20)


def test_close_stops_drops_and_frees(devices):
    schedule, freed = Schedule(devices, pytest.fail, peer_left=lambda: False), []
    started = threading.Event()

    def run():
        started.set()
        while not schedule.should_stop():
            threading.Event().wait(0.001)

    schedule.submit(0, run, touches=(0, 1))
    dropped = schedule.submit(0, lambda: freed.append("dropped"))
    started.wait(20)
    schedule.close([lambda: freed.append("A"), lambda: freed.append("B")])
    assert freed == ["A", "B"]
    with pytest.raises(LaneEnded):
        dropped.get()
