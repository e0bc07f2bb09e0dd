"""Root bytes: shared with MLX, zero when fresh, cleared without touching pages."""

import pytest
from ggmlrpc_metal.root import PAGE, Root

from ggmlrpc_core.errors import OutOfDeviceMemory


@pytest.fixture
def root(device, gpu) -> Root:
    return Root(device._mx, 5 * PAGE + 10, gpu=gpu)


def test_arrays_show_what_the_host_writes_later(root):
    words = root.flat(6, 14, "uint16")
    assert words.tolist() == [0, 0, 0, 0]
    root.bytes[8:10] = [1, 2]
    assert words.tolist() == [0, 0x0201, 0, 0]


def test_words_reach_to_the_end_of_the_last_one(root):
    root.bytes[24] = 7
    assert root.flat(16, 28, "uint64").tolist() == [0, 7]
    assert root.flat(16, 16, "float32").shape == (0,)


def test_clearing_keeps_what_lies_beside(root):
    root.bytes[:] = 9
    root.zero(100, 4 * PAGE + 77)
    assert not root.bytes[100 : 4 * PAGE + 77].any()
    assert (root.bytes[:100] == 9).all() and (root.bytes[4 * PAGE + 77 :] == 9).all()


def test_forgotten_pages_are_those_inside(root):
    root.bytes[:] = 9
    root.forget(10, 2 * PAGE - 1)
    assert (root.bytes[:10] == 9).all() and (root.bytes[2 * PAGE - 1 :] == 9).all()


def test_without_pages_of_the_system_mlx_allocates(device, monkeypatch):
    def refuses(words, copy):
        raise ValueError("Cannot import a CPU array without a copy.")

    monkeypatch.setattr(device._mx, "from_dlpack", refuses)
    made = Root(device._mx, 100, gpu=True)
    assert not made.wrapped
    made.bytes[8] = 5
    assert made.flat(8, 12, "uint8").tolist() == [5, 0, 0, 0]


def test_impossible_sizes(device, gpu):
    with pytest.raises(OutOfDeviceMemory):
        Root(device._mx, 1 << 62, gpu=gpu)
