"""Bytes of a buffer under segments: what is written back, what is dropped, what is given."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_metal.buffer import FORGET_FROM, MetalBuffer
from ggmlrpc_metal.device import MetalDevice

from ggmlrpc_core.errors import DeviceError
from ggmlrpc_core.testing.host import HostDevice
from ggmlrpc_core.testing.run_case import read, write


@pytest.fixture
def buffer(device: MetalDevice) -> MetalBuffer:
    """16 bytes of 1, with a segment of 2 on [4, 12)."""
    made = device.alloc(16)
    made.fill(0, 16, 1)
    made.cover(4, 12, array(device, 2, 8))
    return made


def array(device: MetalDevice, value: int, size: int):
    mx = device._mx
    found = mx.full((size,), value, dtype=mx.uint8)
    mx.eval(found)
    return found


def spans(buffer: MetalBuffer) -> list[tuple[int, int]]:
    return [(segment.lo, segment.hi) for segment in buffer.segments]


def test_segments_hide_the_root(buffer):
    assert read(buffer, 0, 16) == bytes([1] * 4 + [2] * 8 + [1] * 4)
    assert read(buffer, 5, 3) == bytes([2] * 3)
    assert bytes(buffer.root.bytes) == bytes([1] * 16)


def test_a_write_ends_the_segment_and_keeps_what_sticks_out(buffer):
    write(buffer, 6, bytes([3] * 2))
    assert spans(buffer) == []
    assert bytes(buffer.root.bytes) == bytes([1] * 4 + [2] * 2 + [3] * 2 + [2] * 4 + [1] * 4)


def test_a_newer_segment_of_the_same_range_takes_its_place(buffer, device):
    before = buffer.segments.version
    buffer.cover(4, 12, array(device, 5, 8))
    assert buffer.segments.version == before
    assert read(buffer, 0, 16) == bytes([1] * 4 + [5] * 8 + [1] * 4)


def test_a_newer_segment_cuts_an_older_one(buffer, device):
    buffer.cover(8, 16, array(device, 5, 8))
    assert spans(buffer) == [(8, 16)]
    assert read(buffer, 0, 16) == bytes([1] * 4 + [2] * 4 + [5] * 8)


def test_newest_is_the_segment_the_root_or_a_flush(buffer):
    memory, at = buffer.newest(5, 9)
    assert memory[at : at + 4].tolist() == [2] * 4 and spans(buffer) == [(4, 12)]
    memory, at = buffer.newest(12, 16)
    assert memory is buffer.root.bytes and at == 12 and spans(buffer) == [(4, 12)]
    memory, at = buffer.newest(0, 16)
    assert memory is buffer.root.bytes and spans(buffer) == []
    assert bytes(memory) == bytes([1] * 4 + [2] * 8 + [1] * 4)


def test_clearing_clean_bytes_under_a_segment(device):
    made = device.alloc(16)
    made.cover(4, 12, array(device, 2, 8))
    made.fill(6, 4, 0)
    assert read(made, 0, 16) == bytes([0] * 4 + [2] * 2 + [0] * 4 + [2] * 2 + [0] * 4)


def test_copies_take_the_newest_bytes(buffer, device):
    other = device.alloc(16)
    assert other.copy_from(buffer, 2, 5, 8)
    assert read(other, 0, 16) == bytes([0] * 5 + [1] * 2 + [2] * 6 + [0] * 3)
    assert spans(buffer) == [(4, 12)]
    assert not other.copy_from(HostDevice().alloc(16), 0, 0, 4)


def test_large_segments_give_the_pages_under_them_back(device):
    size = 4 * FORGET_FROM
    made = device.alloc(size)
    made.fill(0, size, 7)
    made.cover(0, size // 2, array(device, 9, size // 2))
    assert (made.root.bytes[size // 2 :] == 7).all()
    made.flush(0, size)
    assert (made.root.bytes[: size // 2] == 9).all() and (made.root.bytes[size // 2 :] == 7).all()


def test_it_is_freed_once(buffer):
    buffer.free()
    with pytest.raises(DeviceError, match="freed twice"):
        buffer.free()


def test_a_segment_may_have_any_shape(device):
    mx = device._mx
    made = device.alloc(64)
    found = mx.arange(16).astype(mx.float32).reshape(4, 4)
    mx.eval(found)
    made.cover(0, 64, found)
    assert read(made, 8, 4) == np.float32(2).tobytes()
