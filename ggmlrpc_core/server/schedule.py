"""The order of one session's work over its devices.

Jobs of one device run in the order of the commands by themselves (worker.py). What is left is the
order between devices, and between a device and the thread of the connection: `submit` and `settle`
wait for the session's earlier jobs that touch the same device from elsewhere. A job may end before
the device has done its work, so waiting for one means waiting for its device to synchronize.

Knows no handle and no protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ggmlrpc_core.errors import ConnectionLost
from ggmlrpc_core.server.worker import DeviceWorker, Job

PEER_CHECK_SECONDS = 1.0
"""How often a wait for the device looks whether the peer is still there."""


MOST_QUEUED = 256
"""Jobs of one session that wait for one device; a client that sends more is made to wait."""
MOST_WEIGHT = 131_072
"""Weight of such jobs together, tensors of graphs that nobody has prepared yet: messages are bounded
one by one, so the sum of what waits must be too."""


@dataclass(frozen=True, slots=True)
class ServedDevice:
    """One device in a server's list.

    Attributes:
        worker: its thread.
        share: in how many places of the list the same device is; its memory figures are divided.
        host_memory: whether the thread of a connection may touch its buffers.
    """

    worker: DeviceWorker
    share: int = 1

    @property
    def name(self) -> str:
        """As in `--device`."""
        return self.worker.name

    @property
    def host_memory(self) -> bool:
        """Whether any thread may touch its buffers while it has no work on them."""
        return self.worker.device.host_memory


class Schedule:
    """The lanes of one session.

    Args:
        devices: of the server.
        on_fault: is called on a device's thread with what ended a lane.
        peer_left: whether the peer is gone; asked during long waits.
    """

    def __init__(
        self,
        devices: Sequence[ServedDevice],
        on_fault: Callable[[BaseException], None],
        *,
        peer_left: Callable[[], bool],
    ) -> None:
        self._devices = devices
        self._peer_left = peer_left
        self._lanes = [served.worker.lane(on_fault) for served in devices]
        # For each device, the last job per lane that touches its buffers.
        self._touching: list[dict[int, Job]] = [{} for _ in devices]
        self._weights = [0] * len(devices)  # queued since the device was last waited for
        self._stopping = False

    def should_stop(self) -> bool:
        """Whether running jobs should end early: the session is over."""
        return self._stopping

    def submit(
        self,
        device: int,
        work: Callable[[], Any],
        *,
        touches: Iterable[int] | None = None,
        weight: int = 0,
    ) -> Job:
        """Queue work on a device, after the session's earlier work on every device it touches.

        Args:
            device: index of the device that runs it.
            work: what to run on the device's thread.
            touches: indices of the devices whose buffers it reads or writes; None for `device`.
            weight: what it holds while it waits, see MOST_WEIGHT.

        Raises:
            LaneEnded: earlier work that it waited for has failed.
        """
        touched = (device,) if touches is None else {device, *touches}
        for index in touched:
            self._quiet(index, [lane for lane in self._touching[index] if lane != device])
        lane_here = self._lanes[device]
        self._weights[device] += weight
        if len(lane_here.jobs) >= MOST_QUEUED or self._weights[device] > MOST_WEIGHT:
            if (last := self._touching[device].get(device)) is not None:
                self._wait(last)
            self._weights[device] = weight
        job = self._devices[device].worker.submit(lane_here, work)
        for index in touched:
            self._touching[index][device] = job
        return job

    def call(self, device: int, work: Callable[[], Any]) -> Any:
        """Submit work and wait for its result.

        Raises:
            LaneEnded: it, or work before it, has failed.
        """
        return self._wait(self.submit(device, work))

    def settle(self, *devices: int) -> None:
        """Wait until no earlier job of the session touches the buffers of these devices.

        Raises:
            LaneEnded: one of them has failed.
        """
        for device in devices:
            self._quiet(device, list(self._touching[device]))

    def finish(self, until: float) -> None:
        """Wait until what is queued has run, or until a moment of `time.monotonic`."""
        for jobs in self._touching:
            for job in list(jobs.values()):
                job.wait(max(0.0, until - monotonic()))

    def close(self, frees: Sequence[Callable[[], Any]]) -> None:
        """Stop what runs, drop what waits, then run one of `frees` on each device's thread."""
        self._stopping = True
        quiet = [
            served.worker.end_lane(lane, served.worker.synchronize)
            for served, lane in zip(self._devices, self._lanes)
        ]
        for job in quiet:  # a device may still work on memory that another one frees
            job.wait()
        for served, lane, free in zip(self._devices, self._lanes, frees):
            served.worker.close_lane(lane, free)

    def _quiet(self, device: int, lanes: Iterable[int]) -> None:
        """Wait until the session's jobs of these lanes have done their work on a device's buffers."""
        for lane in lanes:
            worker = self._devices[lane].worker
            self._wait(worker.submit(self._lanes[lane], worker.synchronize))
            del self._touching[device][lane]

    def _wait(self, job: Job) -> Any:
        while not job.wait(PEER_CHECK_SECONDS):
            if self._peer_left():
                raise ConnectionLost("connection", "peer", "gone", "there while a graph runs")
        return job.get()
