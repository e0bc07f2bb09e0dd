import numpy as np
import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording import space as module
from ggmlrpc_core.recording.lines import Fields
from ggmlrpc_core.recording.space import (
    BEFORE,
    SLOT,
    MadeUp,
    Pointers,
    Rebinder,
    Space,
    address_in,
    address_out,
)
from ggmlrpc_core.wire.codec import tensor_dtype
from ggmlrpc_core.wire.dialects import newest


def made(*sizes):
    found = Space()
    for size in sizes:
        found.add(size)
    return found


def test_buffers_follow_each_other_and_large_ones_take_more_room():
    space = made(10, 2 * SLOT + 1, 0)
    assert [space.base(k) // SLOT for k in (1, 2, 3)] == [1, 2, 5]
    assert space.has(3) and not space.has(4) and not space.has(0)


def test_an_address_is_a_place_in_its_own_buffer_first():
    space = made(10, 10)
    assert space.place(space.base(1) + 5, 1) == (1, 5)
    assert space.place(space.base(1) + 5, 2) == (1, 5)
    assert space.place(space.base(2) - 1, 2) == (2, -1)
    assert space.place(space.base(2) - BEFORE - 1, 2) == (1, SLOT - BEFORE - 1)
    assert space.place(123, 1) is None
    assert space.place(space.base(2) + SLOT, 2) is None


@pytest.mark.parametrize("buffer", [0, 1, 2, 77])
@pytest.mark.parametrize("address", [1, SLOT, SLOT + 9, 2 * SLOT - 1, 2 * SLOT, 3 * SLOT, 1 << 63])
def test_an_address_comes_back(address, buffer):
    space, pointers = made(10, 10), Pointers()
    written = address_out(space, pointers, address, buffer)
    assert address_in(space, pointers, written, buffer, Fields({}, where="x")) == address


@pytest.mark.parametrize("value", [[9, 1], [1], {"ptr": 0}, {"x": 1}, "5", None, -BEFORE - 1])
def test_what_is_no_address_is_refused(value):
    with pytest.raises(RecordingError, match="x: at is"):
        address_in(made(10), MadeUp(), value, 1, Fields({}, where="x"))


def test_pointers_are_numbered_by_first_use():
    pointers = Pointers()
    assert [pointers.number(p) for p in (900, 100, 900, 0)] == [1, 2, 1, 0]
    assert [pointers.pointer(n) for n in (0, 1, 2)] == [0, 900, 100]
    assert [MadeUp().number(MadeUp().pointer(n)) for n in (0, 1, 99)] == [0, 1, 99]


def test_tensors_get_the_servers_handles_and_addresses():
    space = made(100, 3 * SLOT, 100)
    rebinder = Rebinder(space)
    for k, real in ((1, 0xAAAA), (2, 0xBBBB)):
        rebinder.bind_handle(k, real)
    rebinder.bind_base(1, 1 << 40)
    rebinder.bind_base(2, 1 << 50)
    rows = np.zeros(8, tensor_dtype(newest()))
    rows["buffer"] = [1, 2, 3, 0, 0, 999, 2, 1]
    big = space.base(2) + 2 * SLOT
    rows["data"] = [SLOT + 4, big, space.base(3), 0, SLOT + 8, 0xDEAD, SLOT, SLOT - 2]
    rebinder.tensors(rows)
    assert rows["buffer"].tolist() == [0xAAAA, 0xBBBB, 3, 0, 0, 999, 0xBBBB, 0xAAAA]
    assert rows["data"].tolist() == [
        (1 << 40) + 4,
        (1 << 50) + 2 * SLOT,
        space.base(3),  # its address on the server was never asked for
        0,
        (1 << 40) + 8,
        0xDEAD,
        1 << 40,
        (1 << 40) - 2,
    ]
    assert rebinder.handle(2) == 0xBBBB and rebinder.handle(77) == 77
    assert rebinder.has_base(1) and not rebinder.has_base(3)


def test_there_is_an_end_to_buffers(monkeypatch):
    monkeypatch.setattr(module, "MAX_BUFFERS", 2)
    with pytest.raises(RecordingError, match="buffers is 3, expected at most 2"):
        made(1, 1, 1)
