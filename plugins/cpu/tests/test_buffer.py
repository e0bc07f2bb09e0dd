"""Buffers of the CPU device."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
from ggmlrpc_cpu.buffer import READ_PIECE, CpuBuffer

from ggmlrpc_core.device import Buffer
from ggmlrpc_core.errors import OutOfDeviceMemory


def make(size: int) -> CpuBuffer:
    return CpuBuffer(size, lambda buffer: None)


def test_fresh_memory_is_zero_aligned_and_a_buffer():
    buffer = make(1000)
    assert isinstance(buffer, Buffer)
    assert buffer.address % 64 == 0
    assert b"".join(buffer.read(0, 1000)) == bytes(1000)


def test_written_bytes_are_read_back():
    buffer = make(100)
    target = buffer.writable(10, 5)
    assert len(target) == 5
    target[:] = b"hello"
    buffer.commit(10, 5)
    assert b"".join(buffer.read(9, 7)) == b"\0hello\0"
    assert bytes(buffer.memory[10:15]) == b"hello"


def test_long_reads_come_in_pieces():
    buffer = make(READ_PIECE + 7)
    assert [len(piece) for piece in buffer.read(3, READ_PIECE + 4)] == [READ_PIECE, 4]


@pytest.mark.parametrize(("source", "target"), [(0, 4), (4, 0)])
def test_overlapping_copy(source, target):
    buffer = make(16)
    buffer.memory[:] = np.arange(16)
    expected = bytes(buffer.memory[source : source + 10])
    assert buffer.copy_from(buffer, source, target, 10)
    assert bytes(buffer.memory[target : target + 10]) == expected


def test_a_buffer_of_another_kind_is_declined():
    class Other:
        size = 4

    assert make(4).copy_from(Other(), 0, 0, 4) is False


def test_fill():
    buffer = make(8)
    buffer.fill(2, 3, 0xAB)
    assert bytes(buffer.memory) == b"\0\0\xab\xab\xab\0\0\0"


def test_memory_is_taken_when_touched_and_given_back_when_freed():
    process = psutil.Process()
    size = 256 << 20
    before = process.memory_info().rss
    buffer = make(size)
    assert process.memory_info().rss - before < size // 4
    buffer.memory[:] = 1
    assert process.memory_info().rss - before > size // 2
    buffer.free()
    assert process.memory_info().rss - before < size // 4
    assert buffer.address == 0


def test_a_piece_outlives_free():
    buffer = make(8)
    buffer.fill(0, 8, 7)
    (piece,) = buffer.read(0, 8)
    buffer.free()
    assert bytes(piece) == b"\7" * 8


def test_too_much_is_refused():
    with pytest.raises(OutOfDeviceMemory, match="alloc: size is 4611686018427387904"):
        make(1 << 62)


def test_a_buffer_of_no_bytes():
    buffer = make(0)
    assert list(buffer.read(0, 0)) == []
    buffer.free()
