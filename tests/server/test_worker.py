"""The queue of a device: order, fairness, faults."""

import threading
from types import SimpleNamespace

import pytest

from ggmlrpc_core.errors import DeviceLost, OutOfBounds
from ggmlrpc_core.server.worker import DeviceWorker, LaneEnded


class Opens:
    """Opens a new fake device at each call and remembers them all."""

    def __init__(self, *faults):
        self.devices = []
        self.faults = list(faults)

    def __call__(self):
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault
        device = SimpleNamespace(closed=False, thread=threading.current_thread().name)
        device.close = lambda: setattr(device, "closed", True)
        self.devices.append(device)
        return device


@pytest.fixture
def opens():
    return Opens()


@pytest.fixture
def said():
    return []


@pytest.fixture
def worker(opens, said):
    worker = DeviceWorker("GPU0", opens, report=said.append)
    yield worker
    worker.stop()


@pytest.fixture
def gate(worker):
    """Keeps the device busy until it is set, so that jobs pile up."""
    gate = threading.Event()
    worker.submit(worker.lane(pytest.fail), lambda: gate.wait(10))
    yield gate
    gate.set()


def test_opens_runs_and_closes_on_its_own_thread(opens):
    worker = DeviceWorker("GPU0", opens)
    lane = worker.lane(pytest.fail)
    ran_on = worker.call(lane, lambda: threading.current_thread().name)
    assert ran_on == "ggmlrpc GPU0" == opens.devices[0].thread
    worker.stop()
    assert opens.devices[0].closed


def test_a_device_that_cannot_be_opened_raises_at_once():
    with pytest.raises(RuntimeError, match="no driver"):
        DeviceWorker("GPU0", Opens(RuntimeError("no driver")))


def test_jobs_of_a_lane_run_in_order(worker, gate):
    lane, ran = worker.lane(pytest.fail), []
    jobs = [worker.submit(lane, lambda i=i: ran.append(i)) for i in range(20)]
    assert not jobs[0].done
    assert jobs[0].wait(0.001) is False
    gate.set()
    assert jobs[-1].wait(10)
    assert ran == list(range(20))


def test_the_lane_with_the_least_device_time_goes_next(worker, gate):
    busy, idle, ran = worker.lane(pytest.fail), worker.lane(pytest.fail), []
    busy.seconds, idle.seconds = 5.0, 1.0
    for i in range(2):
        worker.submit(busy, lambda i=i: ran.append(f"busy {i}"))
    last = [worker.submit(idle, lambda i=i: ran.append(f"idle {i}")) for i in range(2)]
    gate.set()
    last[-1].wait(10)
    worker.call(busy, lambda: None)
    assert ran == ["idle 0", "idle 1", "busy 0", "busy 1"]


def test_a_lane_that_was_idle_starts_level(worker):
    veteran, newcomer = worker.lane(pytest.fail), worker.lane(pytest.fail)
    veteran.seconds = 100.0
    worker.call(veteran, lambda: None)
    worker.call(newcomer, lambda: None)
    assert newcomer.seconds >= 100.0


def test_a_fault_ends_its_lane_only(worker, gate):
    faults = []
    bad, good = worker.lane(faults.append), worker.lane(pytest.fail)
    fault = OutOfBounds("GET_ROWS", "row id", 9, "below 4")

    def fail():
        raise fault

    failed, dropped = worker.submit(bad, fail), worker.submit(bad, lambda: pytest.fail("ran"))
    gate.set()
    assert worker.call(good, lambda: "fine") == "fine"
    dropped.wait(10)
    assert faults == [fault]
    for job in (failed, dropped, worker.submit(bad, lambda: pytest.fail("ran"))):
        assert job.done
        with pytest.raises(LaneEnded):
            job.get()


def test_close_lane_drops_what_is_queued_and_frees(worker, gate):
    lane, ran = worker.lane(pytest.fail), []
    dropped = worker.submit(lane, lambda: ran.append("queued"))
    gate.set()
    worker.close_lane(lane, lambda: ran.append("freed"))
    assert dropped.done
    assert ran[-1] == "freed"
    assert worker.submit(lane, lambda: ran.append("late")).done
    assert "late" not in ran


def test_close_lane_frees_after_a_fault(worker):
    lane, ran = worker.lane(lambda fault: None), []
    with pytest.raises(LaneEnded):
        worker.call(lane, lambda: 1 / 0)
    worker.close_lane(lane, lambda: ran.append("freed"))
    assert ran == ["freed"]


def test_a_lost_device_ends_every_lane_and_comes_back(worker, opens, said):
    faults = []
    lanes = [worker.lane(faults.append) for _ in range(3)]
    lost = DeviceLost("device GPU0", "state", "a sticky error", "alive")

    def lose():
        raise lost

    with pytest.raises(LaneEnded):
        worker.call(lanes[0], lose)
    assert faults == [lost] * 3
    fresh = worker.lane(pytest.fail)
    assert worker.call(fresh, lambda: worker.device) is opens.devices[1]
    assert opens.devices[0].closed
    assert said == [str(lost), "device GPU0: open again"]
    worker.close_lane(lanes[0], lambda: pytest.fail("its buffers are gone"))


def test_a_device_that_does_not_come_back_is_tried_again(opens, said):
    opens.faults = [None, RuntimeError("still broken"), RuntimeError("still broken")]
    worker = DeviceWorker("GPU0", opens, report=said.append)

    def lose():
        raise DeviceLost("device GPU0", "state", "a sticky error", "alive")

    for _ in range(2):
        with pytest.raises(LaneEnded):
            worker.call(worker.lane(lambda fault: None), lose)
    assert worker.call(worker.lane(pytest.fail), lambda: "works") == "works"
    assert said.count("device: GPU0 is gone (still broken), expected open") == 2
    worker.stop()
    assert [device.closed for device in opens.devices] == [True, True]


def test_stop_drops_what_is_queued(opens):
    worker = DeviceWorker("GPU0", opens)
    started, gate = threading.Event(), threading.Event()

    def block():
        started.set()
        gate.wait(10)

    lane = worker.lane(pytest.fail)
    worker.submit(lane, block)
    queued = worker.submit(lane, lambda: pytest.fail("ran"))
    started.wait(10)
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    queued.wait(10)
    gate.set()
    stopper.join(10)
    assert opens.devices[0].closed


def test_a_lane_of_a_stopped_worker_takes_nothing(opens):
    worker = DeviceWorker("GPU0", opens)
    worker.stop()
    with pytest.raises(LaneEnded):
        worker.call(worker.lane(pytest.fail), lambda: pytest.fail("ran"))
