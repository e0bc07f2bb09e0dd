"""Who is offered what, as time goes by."""

import pytest

from ggmlrpc_core.server.walk import MOST_PEERS, REMEMBERED, Walk


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def walk(clock):
    return Walk(clock)


def test_who_leaves_is_offered_the_next_until_it_stays(walk):
    offered = []
    for _ in range(5):
        one = walk.offer("a", 24)
        offered.append(one.name)
        following = walk.left("a", one)
        assert following is None or following is walk.offer("a", 24)
    assert offered == ["7.0.0", "6.0.0", "5.1.0", "5.0.0", "4.0.3"]
    assert following is None
    assert walk.offer("a", 24).name == "7.0.0"


def test_the_place_of_who_stays_is_kept_and_told_once(walk):
    walk.left("a", walk.offer("a", 0))
    stays = walk.offer("a", 0)
    assert stays.name == "3.5.0"
    assert walk.stayed("a", stays) is True
    assert walk.stayed("a", stays) is False
    assert walk.offer("a", 0) is stays


def test_addresses_and_lengths_of_hello_are_apart(walk):
    walk.left("a", walk.offer("a", 24))
    assert walk.offer("a", 24).name == "6.0.0"
    assert walk.offer("b", 24).name == "7.0.0"
    assert walk.offer("a", 0).name == "3.6.1"


def test_two_connections_at_once_move_on_by_one(walk):
    first = walk.offer("a", 24)
    assert walk.offer("a", 24) is first
    assert walk.left("a", first).name == "6.0.0"
    assert walk.left("a", first).name == "6.0.0"


def test_who_stays_while_another_moved_on_is_right(walk):
    first = walk.offer("a", 24)
    walk.left("a", first)
    assert walk.stayed("a", first) is True
    assert walk.offer("a", 24) is first


def test_ten_minutes_after_the_last_visit_all_is_forgotten(walk, clock):
    assert REMEMBERED == 600
    walk.left("a", walk.offer("a", 24))
    clock.now += 599
    assert walk.offer("a", 24).name == "6.0.0"
    clock.now += 599
    assert walk.offer("a", 24).name == "6.0.0"
    clock.now += 601
    assert walk.offer("a", 24).name == "7.0.0"


def test_addresses_without_end_cost_no_memory(walk):
    walk.left("first", walk.offer("first", 24))
    for i in range(MOST_PEERS):
        walk.offer(str(i), 24)
    assert len(walk._places) == MOST_PEERS
    assert walk.offer("first", 24).name == "7.0.0"


def test_who_says_no_hello_is_told_once(walk, clock):
    assert (walk.met("a"), walk.met("a"), walk.met("b")) == (True, False, True)
    assert walk.offer("a", 24).name == "7.0.0"
    clock.now += 601
    assert walk.met("a") is True
