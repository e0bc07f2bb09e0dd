"""One thread per device, and a fair queue of jobs between the sessions that use it.

Each session has a lane: its jobs run in the order in which they were submitted. Between lanes the
one that has used the least device time goes next; a lane that was idle starts level with the
others, so neither a newcomer nor a veteran starves.

A job that raises ends its lane and no other. `DeviceLost` ends every lane, and the device is
opened again.

Knows no socket, no handle and no protocol.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter
from typing import Any

from ggmlrpc_core.device import Device
from ggmlrpc_core.errors import DeviceLost

OnFault = Callable[[BaseException], None]


class LaneEnded(Exception):
    """A job was not run, or not to its end. `__cause__` is the fault that ended its lane, if any."""


class Job:
    """Work for the device's thread, and a way to wait for it."""

    __slots__ = ("_ended", "_finished", "_result", "_work", "done")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.done = False
        self._work = work
        self._result: Any = None
        self._ended = False
        # A bare lock is the cheapest event there is: locked until the job is done.
        self._finished = threading.Lock()
        self._finished.acquire()

    def wait(self, timeout: float = -1) -> bool:
        """Wait until the job is done or dropped; False when `timeout` seconds went by first."""
        if not self.done:
            if not self._finished.acquire(timeout=timeout):
                return False
            self._finished.release()
        return True

    def get(self) -> Any:
        """What the work returned; the job must be done.

        Raises:
            LaneEnded: it did not complete.
        """
        if self._ended:
            raise LaneEnded
        return self._result

    def run(self) -> None:
        """Do the work; on the device's thread only."""
        self._result = self._work()

    def finish(self, *, ended: bool) -> None:
        """Let the waiters go; once."""
        self._ended = ended
        del self._work  # what it holds, a plan or a buffer, may be freed now
        self.done = True
        self._finished.release()


class Lane:
    """The jobs of one session on one device. Touched under the worker's lock only.

    Attributes:
        seconds: device time used, comparable between lanes of one worker.
        ended: nothing more is queued.
        lost: the device that its buffers were on is gone.
    """

    __slots__ = ("ended", "jobs", "lost", "on_fault", "seconds")

    def __init__(self, on_fault: OnFault, seconds: float) -> None:
        self.on_fault = on_fault
        self.jobs: deque[Job] = deque()
        self.seconds = seconds
        self.ended = False
        self.lost = False


class DeviceWorker:
    """A device with its thread.

    Args:
        name: of the device.
        open_device: opens it; called on the thread, and again after the device was lost.
        report: is given a sentence when the device is lost, comes back or cannot be closed.

    Attributes:
        busy_seconds: that the thread has worked.
        device: the open device; after a loss that could not be repaired, the one that was lost.

    Raises:
        Exception: whatever open_device raised.
    """

    device: Device

    def __init__(
        self,
        name: str,
        open_device: Callable[[], Device],
        *,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.name = name
        self._open_device = open_device
        self._report = report
        self._lock = threading.Lock()
        self._tokens: SimpleQueue[None] = SimpleQueue()  # at least one per queued job
        self._lanes: list[Lane] = []
        self._clock = 0.0  # device time of the lane that was served last
        self._stopping = False
        self._gone = False
        self.busy_seconds = 0.0
        opened: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._main, args=(opened,), name=f"ggmlrpc {name}", daemon=True
        )
        self._thread.start()
        fault = opened.get()
        if fault is not None:
            self._thread.join()
            raise fault

    # --- for the threads of connections

    def lane(self, on_fault: OnFault) -> Lane:
        """A new lane; `on_fault` is called at most once, on this worker's thread."""
        with self._lock:
            lane = Lane(on_fault, self._clock)
            lane.ended = self._stopping
            self._lanes.append(lane)
        return lane

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        with self._lock:
            return sum(len(lane.jobs) for lane in self._lanes)

    @property
    def gone(self) -> bool:
        """Whether the device was lost and could not be opened again."""
        return self._gone

    def submit(self, lane: Lane, work: Callable[[], Any]) -> Job:
        """Queue work behind the lane's earlier jobs. Returns at once."""
        job = Job(work)
        with self._lock:
            queued = not lane.ended
            if queued:
                self._queue(lane, job)
        if queued:
            self._tokens.put(None)
        else:
            job.finish(ended=True)
        return job

    def call(self, lane: Lane, work: Callable[[], Any]) -> Any:
        """Queue work and wait for its result.

        Raises:
            LaneEnded: it did not complete.
        """
        job = self.submit(lane, work)
        job.wait()
        return job.get()

    def end_lane(self, lane: Lane, last: Callable[[], Any]) -> Job:
        """Drop what is queued in a lane, and queue `last`; a job that runs goes on.

        `last` is not run when the device was lost: its buffers went with it.
        """
        job = Job(last)
        with self._lock:
            dropped = self._end(lane)
            queued = not (lane.lost or self._stopping)
            if queued:
                self._queue(lane, job)
        for other in dropped:
            other.finish(ended=True)
        if queued:
            self._tokens.put(None)
        else:
            job.finish(ended=True)
        return job

    def close_lane(self, lane: Lane, last: Callable[[], Any]) -> None:
        """End a lane with `last` (to free buffers), wait for that and forget the lane."""
        self.end_lane(lane, last).wait()
        with self._lock:
            self._lanes.remove(lane)

    def stop(self) -> None:
        """End every lane, close the device and wait for the thread."""
        with self._lock:
            self._stopping = True
            dropped = [job for lane in self._lanes for job in self._end(lane)]
        for job in dropped:
            job.finish(ended=True)
        self._tokens.put(None)
        self._thread.join()

    # --- on the device's thread

    def synchronize(self) -> None:
        """Wait for everything that runs on the device; to be submitted as work."""
        self.device.synchronize()

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes of the device; to be submitted as work."""
        return self.device.memory()

    def _main(self, opened: SimpleQueue[BaseException | None]) -> None:
        try:
            self.device = self._open_device()
        except BaseException as exc:
            opened.put(exc)
            return
        opened.put(None)
        del opened
        while True:
            self._tokens.get()
            with self._lock:
                if self._stopping:
                    break
                lane = self._next()
                job = lane.jobs.popleft() if lane else None
            if lane is not None and job is not None:
                self._serve(lane, job)
        self._close_device()

    def _next(self) -> Lane | None:
        """The lane whose turn it is."""
        waiting = [lane for lane in self._lanes if lane.jobs]
        if not waiting:
            return None
        lane = min(waiting, key=lambda one: one.seconds)
        self._clock = lane.seconds
        return lane

    def _serve(self, lane: Lane, job: Job) -> None:
        started = perf_counter()
        fault: BaseException | None = None
        try:
            if self._gone:
                self._reopen()
            job.run()
        except BaseException as exc:  # belongs to the session, which decides what to say
            fault = exc
        seconds = perf_counter() - started
        lane.seconds += seconds
        self.busy_seconds += seconds
        if isinstance(fault, DeviceLost):
            self._lose(fault)
        elif fault is not None:
            self._fail([lane], fault)
        job.finish(ended=fault is not None)

    def _fail(self, lanes: list[Lane], fault: BaseException) -> None:
        with self._lock:
            live = [lane for lane in lanes if not lane.ended]
            dropped = [job for lane in lanes for job in self._end(lane)]
        for lane in live:
            lane.on_fault(fault)
        for job in dropped:
            job.finish(ended=True)

    def _lose(self, fault: DeviceLost) -> None:
        """Every session ends, the device is closed and opened again."""
        self._report(str(fault))
        with self._lock:
            lanes = list(self._lanes)
            for lane in lanes:
                lane.lost = True
        self._fail(lanes, fault)
        self._close_device()
        self._gone = True
        try:
            self._reopen()
        except DeviceLost as exc:  # tried again at the next job
            self._report(str(exc))
        else:
            self._report(f"device {self.name}: open again")

    def _reopen(self) -> None:
        try:
            self.device = self._open_device()
        except Exception as exc:
            raise DeviceLost("device", self.name, f"gone ({exc})", "open") from exc
        self._gone = False

    def _close_device(self) -> None:
        if self._gone:
            return
        try:
            self.device.close()
        except Exception as exc:
            self._report(f"device {self.name}: close raised {type(exc).__name__}: {exc}")

    # --- under the lock

    def _queue(self, lane: Lane, job: Job) -> None:
        if not lane.jobs:
            lane.seconds = max(lane.seconds, self._clock)
        lane.jobs.append(job)

    @staticmethod
    def _end(lane: Lane) -> list[Job]:
        """Take all queued jobs out of a lane for good."""
        dropped = list(lane.jobs)
        lane.jobs.clear()
        lane.ended = True
        return dropped
