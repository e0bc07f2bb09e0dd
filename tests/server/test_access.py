"""Bytes of buffers, over memory that a thread may touch and memory that it may not."""

import pytest

from ggmlrpc_core.graph.bind import Bound
from ggmlrpc_core.server.access import Access
from ggmlrpc_core.server.buffers import OwnedBuffer
from ggmlrpc_core.server.schedule import Schedule, ServedDevice
from ggmlrpc_core.server.worker import DeviceWorker
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.null import NullDevice

DATA = bytes(range(250))


@pytest.fixture(params=[True, False], ids=["host", "worker"])
def box(request):
    """(access, one buffer of 1000 bytes on each of two devices)."""
    workers = [
        DeviceWorker(
            name, lambda: ChaosDevice(NullDevice("N"), piece=33, host_memory=request.param)
        )
        for name in ("A", "B")
    ]
    devices = [ServedDevice(worker) for worker in workers]
    schedule = Schedule(devices, pytest.fail, peer_left=lambda: False)
    owned = []
    for index, worker in enumerate(workers):
        memory = schedule.call(index, lambda worker=worker: worker.device.alloc(1000))
        owned.append(OwnedBuffer(index + 1, index, Bound(memory, 4096, 1000)))
    yield Access(devices, schedule), owned, workers
    assert [worker.device.violations for worker in workers] == [[], []]
    schedule.close([lambda: None] * 2)
    for worker in workers:
        worker.stop()


def content(access, owned, offset=0, size=1000):
    return b"".join(bytes(piece) for piece in access.read(owned, offset, size))


def test_write_read_fill(box):
    access, (a, _), _ = box
    access.write(a, 10, memoryview(DATA))
    access.fill(a, 20, 5, value=7)
    access.fill(a, 0, 0, value=9)
    expected = bytes(10) + DATA[:10] + b"\7" * 5 + DATA[15:]
    assert content(access, a, 0, 260) == expected
    assert content(access, a, 12, 0) == b""


def test_receive_hands_out_the_pieces(box):
    access, (a, _), _ = box
    sizes = []

    def fill(piece):
        sizes.append(len(piece))
        piece[:] = bytes([len(sizes)]) * len(piece)

    access.receive(a, 5, 70, fill=fill)
    assert sizes == [33, 33, 4]
    assert content(access, a, 4, 72) == b"\0" + b"\1" * 33 + b"\2" * 33 + b"\3" * 4 + b"\0"


@pytest.mark.parametrize("decline", [False, True])
@pytest.mark.parametrize("to", [0, 40, 100, 600])
def test_copy_inside_a_buffer(box, decline, to):
    access, (a, _), (worker, _) = box
    worker.device.decline_copies = decline
    access.write(a, 50, memoryview(DATA))
    whole = bytearray(content(access, a))
    access.copy(a, 50, a, to, len(DATA))
    whole[to : to + len(DATA)] = DATA
    assert content(access, a) == whole


def test_copy_between_devices(box):
    access, (a, b), _ = box
    access.write(a, 0, memoryview(DATA))
    access.copy(a, 10, b, 500, 200)
    access.copy(a, 0, b, 0, 0)
    assert content(access, b) == bytes(500) + DATA[10:210] + bytes(300)
