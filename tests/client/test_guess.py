"""Guessing a numbering: the truth stays among the candidates, and no server dies of it."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from ggmlrpc_core.client import get_tensor, rpc_init, set_tensor
from ggmlrpc_core.client.greeting import connect
from ggmlrpc_core.client.guess import SCRATCH, run_probe
from ggmlrpc_core.client.probes import ANYWHERE, ON_CPU, OPERANDS, Probe, best_split
from ggmlrpc_core.errors import AmbiguousDialect, ConnectionLost
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.server import Server
from ggmlrpc_core.testing import ReferenceDevice
from ggmlrpc_core.wire.dialects import dialect, dialect_names, states_of

TIMEOUT = 10.0
GUESSED = [
    name
    for name in dialect_names()
    if len(states_of(dialect(name).label)) > 1 and dialect(name).graphs_may_grow
    and dialect(name).label != "none-C"
]  # fmt: skip


def group_of(name, candidates, safe):
    """What the search can say of a server of this state."""
    while (split := best_split(tuple(candidates), safe)) is not None:
        candidates = next(s for s, _, _ in split.groups if dialect(name) in s)
    return tuple(candidates)


@pytest.mark.parametrize("name", GUESSED)
def test_a_stock_cpu_server_tells_what_the_search_says(stock, name):
    server = stock(name)
    with connect(server.endpoint, TIMEOUT) as connection:
        states = states_of(dialect(name).label)
        assert connection.candidates == group_of(name, states, ON_CPU)
        assert connection.dialect is connection.candidates[-1]
    assert server.death is None


@pytest.mark.parametrize("name", GUESSED)
def test_another_backend_gets_only_what_every_backend_runs(stock, name):
    server = stock(name, alignment=128)
    with connect(server.endpoint, TIMEOUT) as connection:
        states = states_of(dialect(name).label)
        assert connection.candidates == group_of(name, states, ANYWHERE)
    assert server.death is None


@pytest.mark.parametrize("name", [n for n in GUESSED if not n.startswith("none-")])
def test_our_own_server_forced_to_a_numbering(name):
    with (
        Server([lambda: ReferenceDevice()], endpoint="127.0.0.1:0", dialect=name) as server,
        connect(server.endpoint, TIMEOUT) as connection,
    ):
        assert dialect(name) in connection.candidates
        states = states_of(dialect(name).label)
        found = (group_of(name, states, ON_CPU), group_of(name, states, ANYWHERE))
        assert connection.candidates in found


def test_servers_that_size_memory_by_their_first_graph_get_none(stock):
    for name in ("none-A", "none-B@2024-05-23", "none-C@2024-08-12", "none-C@2024-09-20"):
        server = stock(name)
        with connect(server.endpoint, TIMEOUT) as connection:
            assert dialect(name) in connection.candidates
        assert "GRAPH_COMPUTE" not in server.commands
        assert server.death is None


def test_lengths_tell_later_ones_from_them(stock):
    early, late = stock("none-C@2024-08-12"), stock("none-C@2024-12-03")
    with connect(early.endpoint, TIMEOUT) as connection:
        assert [d.name.partition("@")[2] for d in connection.candidates] == [
            "2024-06-15", "2024-08-12", "2024-08-22", "2024-09-01", "2024-09-20", "2024-10-03",
        ]  # fmt: skip
    with connect(late.endpoint, TIMEOUT) as connection:
        assert [d.name.partition("@")[2] for d in connection.candidates] == ["2024-12-03"]


def built(device):
    b = GraphBuilder()
    x = b.new_tensor("F32", 8, 2, name="x")
    y, z = b.add(x, x), b.soft_max_ext(x)
    allocate([y, z], device)
    set_tensor(x, np.ones((2, 8)))
    return b, y, z


def test_only_what_all_candidates_say_alike_is_sent(stock, caplog):
    caplog.set_level(logging.WARNING, "ggmlrpc.client")
    server = stock("none-C@2024-08-12")
    with rpc_init(str(server.endpoint), timeout=TIMEOUT) as device:
        b, y, z = built(device)
        device.compute(b.graph(y))
        assert get_tensor(y).ravel().tolist() == [2.0] * 16
        with pytest.raises(AmbiguousDialect) as caught:
            device.compute(b.graph(z))
        assert str(caught.value) == (
            "GRAPH_COMPUTE: op is SOFT_MAX, expected what every numbering that the server may have says alike "
            "[it may be of none-C@2024-06-15, none-C@2024-08-12, none-C@2024-08-22, none-C@2024-09-01, "
            "none-C@2024-09-20, none-C@2024-10-03; pass dialect= with the one it has]"
        )
        device.compute(b.graph(y))
    assert server.commands.count("GRAPH_COMPUTE") == 2
    assert server.death is None
    (sentence,) = [r.getMessage() for r in caplog.records]
    assert sentence.startswith(
        f"server {server.endpoint} announces no version, its numbering is one of none-C@2024-06-15, "
        "none-C@2024-08-12, none-C@2024-08-22, none-C@2024-09-01, none-C@2024-09-20, none-C@2024-10-03: "
        "what they differ in is refused (63 ops renumbered, first SUM, 13 instead of 11; 2 ops new: SIN, COS; "
    )
    assert sentence.endswith("); pass dialect= with the right one")


def test_the_right_dialect_makes_everything_possible(stock):
    server = stock("none-C@2024-08-12")
    with rpc_init(str(server.endpoint), timeout=TIMEOUT, dialect=server.dialect.name) as device:
        b, _, z = built(device)
        device.compute(b.graph(z))
        np.testing.assert_allclose(get_tensor(z).ravel(), 1 / 8)
    assert server.death is None


def test_the_wrong_dialect_gives_wrong_results_without_a_word(stock):
    """What is at stake: this is why nothing is guessed silently."""
    server = stock("none-C@2024-08-12")
    with rpc_init(str(server.endpoint), timeout=TIMEOUT, dialect="none-C@2024-06-15") as device:
        b, _, z = built(device)
        device.compute(b.graph(z))
        assert np.abs(get_tensor(z) - 1 / 8).max() > 0.5
    assert server.death is None


def test_the_stock_server_of_these_tests_can_die(stock):
    server = stock("none-C@2024-08-12")
    with rpc_init(str(server.endpoint), timeout=TIMEOUT, dialect="none-C@2024-12-03") as device:
        b = GraphBuilder()
        x = b.new_tensor("F32", 8, 2, name="x")
        y = b.silu(x)
        allocate([y], device)
        with pytest.raises(ConnectionLost):
            device.compute(b.graph(y))
    server.close()
    assert server.death is not None


@pytest.mark.parametrize("name", ["MAP_CUSTOM1", "CUSTOM"])
def test_the_stock_server_of_these_tests_dies_of_a_forbidden_number(stock, name):
    server = stock("2.0.0@2025-08-05")
    number = server.dialect.numbering.ops[name]
    with connect(server.endpoint, TIMEOUT, dialect=server.dialect.name) as connection:
        handle = connection.call("ALLOC_BUFFER", size=SCRATCH)["remote_ptr"]
        base = connection.call("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]
        with pytest.raises(ConnectionLost):
            run_probe(connection, Probe(number, (), OPERANDS[0]), handle, base=base)
    server.close()
    assert server.death == f"{name} calls the address in its parameters"


def test_a_server_that_closes_at_a_probe_is_not_guessed(stock, caplog):
    """Which no stock server does; one that checks more than they did may."""
    caplog.set_level(logging.INFO, "ggmlrpc.client")
    server = stock("3.0.0@2025-11-13")

    def refuse(fields, body):
        raise OSError("closed")

    server._graph_compute = refuse
    with connect(server.endpoint, TIMEOUT) as connection:
        assert connection.candidates == tuple(states_of("3.0.0"))
        assert connection.call("DEVICE_COUNT") == {"device_count": 1}
    assert "closed at a graph of one node" in caplog.records[0].getMessage()


def test_a_result_that_no_numbering_gives_ends_the_guess(stock, caplog):
    caplog.set_level(logging.INFO, "ggmlrpc.client")
    server = stock("3.0.0@2025-11-13")
    server._graph_compute = lambda fields, body: {"result": 0}
    with connect(server.endpoint, TIMEOUT) as connection:
        assert connection.candidates == tuple(states_of("3.0.0"))
    assert "what no numbering does" in caplog.records[0].getMessage()
