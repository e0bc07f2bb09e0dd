"""Eras before HELLO and tensor sizes of the fork, by what stock servers of them answer."""

from __future__ import annotations

import socket

import pytest

from ggmlrpc_core.client.connection import ClientConnection
from ggmlrpc_core.client.eras import answers, era_of, form_of, reads_tensors
from ggmlrpc_core.client.sockets import open_socket
from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.engine import Connection, Role
from ggmlrpc_core.errors import ConnectionLost
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names, states_of

TIMEOUT = 10.0
BEFORE_HELLO = [name for name in dialect_names() if name.startswith("none-")]
FORK = [name for name in fork_names() if name.startswith("ik-3.5.2")]


def dialer(server):
    def dial(spoken):
        sock = open_socket(server.endpoint, TIMEOUT)
        connection = ClientConnection(sock, server.endpoint, engine=Connection(Role.CLIENT, spoken))
        if "HELLO" in spoken.by_name:
            connection.call("HELLO", conn_caps=b"")
        return connection

    return dial


@pytest.mark.parametrize("name", BEFORE_HELLO)
def test_an_era_is_found_and_nothing_is_harmed(stock, name):
    server = stock(name)
    found = era_of(dialer(server), lambda: open_socket(server.endpoint, TIMEOUT))
    assert dialect(name) in found
    assert {one.label for one in found} == {dialect(name).label}
    assert server.death is None
    assert server._buffers == {}


def test_lengths_split_the_longest_era(stock):
    found = {}
    for name in (d.name for d in states_of("none-C")):
        server = stock(name)
        found[name] = era_of(dialer(server), lambda s=server: open_socket(s.endpoint, TIMEOUT))
    early, late = (states_of("none-C")[:6], states_of("none-C")[5:])
    assert [found[d.name] for d in early] == [early] * 6
    assert [found[d.name] for d in late[1:]] == [late] * 2


@pytest.mark.parametrize("name", FORK)
def test_a_tensor_size_is_found(stock, name):
    server = stock(name)
    every = [dialect(one) for one in FORK]
    found = form_of(dialer(server), every)
    assert found == [one for one in every if one.max_src == dialect(name).max_src]


def test_one_size_needs_no_question():
    assert form_of(None, states_of("2.0.0")) == states_of("2.0.0")


def test_a_size_that_nobody_knows(stock):
    server = stock("3.5.0/name128")
    sizes = [dialect(f"ik-3.5.2/{n}src") for n in (12, 16)]
    with pytest.raises(
        ConnectionLost, match="closed at tensors of any size, expected one of 344, 312 bytes"
    ):
        form_of(dialer(server), sizes)


def test_silence_is_no_answer():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.01)
    era = dialect("none-E")
    engine = Connection(Role.CLIENT, era)
    with (
        theirs,
        ClientConnection(ours, Endpoint(), engine=engine) as connection,
        pytest.raises(ConnectionLost, match="silent"),
    ):
        answers(connection, "GET_ALIGNMENT")


@pytest.mark.parametrize(("spoken", "reads"), [("7.0.0", True), ("7.0.0/name128", False)])
def test_whether_tensors_are_read(stock, spoken, reads):
    server = stock("7.0.0")
    with dialer(server)(dialect(spoken)) as connection:
        assert reads_tensors(connection) is reads
