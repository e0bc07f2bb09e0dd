"""HostBuffer and HostDevice: bytes, accounting."""

from __future__ import annotations

import pytest

from ggmlrpc_core.device import Buffer, Device
from ggmlrpc_core.errors import DeviceError, OutOfDeviceMemory
from ggmlrpc_core.testing.host import HostDevice
from ggmlrpc_core.testing.null import NullDevice


def test_memory_is_counted():
    device = HostDevice(total=1000)
    buffer = device.alloc(600)
    assert device.memory() == (400, 1000)
    with pytest.raises(OutOfDeviceMemory, match="size is 401 bytes, expected at most 400"):
        device.alloc(401)
    buffer.free()
    assert device.memory() == (1000, 1000)
    with pytest.raises(DeviceError, match="freed twice"):
        buffer.free()


def test_it_has_the_shape_of_the_contract():
    device = NullDevice()
    assert isinstance(device, Device)
    assert isinstance(device.alloc(8), Buffer)


def test_overlapping_copy_inside_a_buffer():
    buffer = HostDevice().alloc(8)
    buffer.writable(0, 8)[:] = bytes(range(8))
    assert buffer.copy_from(buffer, 0, 2, 6)
    assert b"".join(buffer.read(0, 8)) == bytes([0, 1, 0, 1, 2, 3, 4, 5])
    assert not buffer.copy_from(object(), 0, 0, 1)
