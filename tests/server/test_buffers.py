"""Handles and virtual addresses."""

import random

import pytest

from ggmlrpc_core.errors import BufferNotFound
from ggmlrpc_core.server import buffers
from ggmlrpc_core.server.buffers import LOWEST_ADDRESS, AddressSpace, BufferTable


def test_ranges_never_touch_and_are_aligned():
    space, rng, live = AddressSpace(), random.Random(1), []
    for _ in range(300):
        if live and rng.random() < 0.4:
            space.give_back(*live.pop(rng.randrange(len(live))))
        size, alignment = rng.randrange(1, 100_000), 1 << rng.randrange(16)
        first = space.take(size, alignment)
        assert first % max(alignment, 4096) == 0
        assert all(first > a + n or first + size < a for a, n in live)
        live.append((first, size))


def test_an_address_comes_back_only_after_all_others(monkeypatch):
    monkeypatch.setattr(buffers, "HIGHEST_ADDRESS", LOWEST_ADDRESS + 10 * 4096)
    space = AddressSpace()
    taken = [space.take(4000, 32) for _ in range(3)]
    space.give_back(taken[0], 4000)
    later = [space.take(4000, 32) for _ in range(6)]
    assert taken[0] not in later
    assert space.take(4000, 32) == taken[0]
    assert space.take(4000, 32) is None
    space.give_back(taken[1], 4000)
    assert space.take(5000, 32) is None
    assert space.take(4000, 32) == taken[1]


def test_a_table_finds_and_forgets():
    table = BufferTable()
    owned = table.add(1, "memory", size=100, alignment=32, charged=100)
    assert table.find("X", owned.handle) is owned
    assert table.resolve(owned.handle) == ("memory", owned.bound.base, 100)
    assert len(table) == 1
    table.remove(owned)
    assert table.get(owned.handle) is None and table.resolve(owned.handle) is None
    with pytest.raises(BufferNotFound) as info:
        table.find("FREE_BUFFER", owned.handle)
    assert str(info.value) == (
        f"FREE_BUFFER: remote_ptr is {owned.handle:#x}, expected a buffer of this connection"
    )


def test_handles_are_random_and_never_0(monkeypatch):
    drawn = iter([0, 7, 7, 8])
    monkeypatch.setattr(buffers.secrets, "randbits", lambda bits: next(drawn))
    table = BufferTable()
    made = [table.add(0, "m", size=1, alignment=1, charged=1).handle for _ in range(2)]
    assert made == [7, 8]


def test_take_all_empties_the_table():
    table = BufferTable()
    made = [table.add(0, "m", size=size, alignment=1, charged=size) for size in (0, 5)]
    assert table.take_all() == made
    assert len(table) == 0
