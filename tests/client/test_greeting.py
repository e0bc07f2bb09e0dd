"""How a connection begins, with servers of every age, and with what is no server of this protocol."""

from __future__ import annotations

import logging
import re
import socket
import struct
import threading

import pytest

from ggmlrpc_core.client import rpc_init
from ggmlrpc_core.client.greeting import connect
from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.errors import ConnectionLost, LocalProtocolError, VersionMismatch
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names

SILENT = None
TIMEOUT = 5.0


@pytest.fixture
def answering():
    """A listener that answers the first bytes of the n-th connection with the n-th reply; b"" closes.

    `seen` of the endpoint's list gets what came first on each connection.
    """
    threads = []

    def begin(*replies):
        listener = socket.create_server(("127.0.0.1", 0))
        port, seen, over = listener.getsockname()[1], [], threading.Event()

        def serve():
            with listener:
                for reply in replies:
                    sock, _ = listener.accept()
                    with sock:
                        seen.append(sock.recv(100))
                        if reply is SILENT:
                            over.wait(TIMEOUT)
                        elif reply:
                            sock.sendall(reply)
                            sock.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()
        threads.append((thread, over))
        return Endpoint("127.0.0.1", port), seen

    yield begin
    for thread, over in threads:
        over.set()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def hello_reply(*version):
    return struct.pack("<QBBBB24x", 28, *version, 0)


def short_reply(*version):
    return struct.pack("<QBBB", 3, *version)


LONG_HELLO = struct.pack("<BQ24x", 14, 24)
SHORT_HELLO = struct.pack("<BQ", 14, 0)


def test_the_announced_dialect_is_spoken(answering):
    endpoint, seen = answering(hello_reply(5, 1, 0))
    with connect(endpoint, TIMEOUT) as connection:
        assert connection.dialect is dialect("5.1.0")
        assert connection.candidates == (dialect("5.1.0"),)
        assert connection.server_version == (5, 1, 0)
    assert seen == [LONG_HELLO]


def test_a_server_that_closes_gets_the_older_hello(answering):
    endpoint, seen = answering(b"", short_reply(3, 6, 1))
    with connect(endpoint, TIMEOUT) as connection:
        assert connection.dialect is dialect("3.6.1")
    assert seen == [LONG_HELLO, SHORT_HELLO]


def test_a_silent_server_is_not_asked_again(answering):
    endpoint, seen = answering(SILENT)
    with pytest.raises(ConnectionLost) as caught:
        connect(endpoint, 0.05)
    assert str(caught.value) == (
        "HELLO: connection is silent for longer than the timeout, expected an answer "
        f"[server {endpoint}: a stock server answers one client at a time, and the next when that has left]"
    )
    assert len(seen) == 1


@pytest.mark.parametrize("replies", [(struct.pack("<Q5x", 5),), (b"", struct.pack("<Q28x", 28))])
def test_an_answer_of_another_length(answering, replies):
    endpoint, _ = answering(*replies)
    expected = 28 if len(replies) == 1 else 3
    got = 5 if len(replies) == 1 else 28
    with pytest.raises(VersionMismatch) as caught:
        connect(endpoint, TIMEOUT)
    assert str(caught.value) == (
        f"HELLO: reply_size is {got} bytes, expected {expected}, as every known version answers "
        f"[server {endpoint}: not a server of this protocol, or of a version to come]"
    )


def test_half_an_answer_is_silence(answering):
    endpoint, seen = answering(hello_reply(7, 0, 0)[:20])
    with pytest.raises(ConnectionLost) as caught:
        connect(endpoint, 0.05)
    assert caught.value.got == "silent for longer than the timeout"
    assert len(seen) == 1


def test_what_closes_at_everything_is_no_server(answering):
    endpoint, seen = answering(b"", b"", b"")
    with pytest.raises(ConnectionLost) as caught:
        connect(endpoint, TIMEOUT)
    assert str(caught.value) == (
        "connect: connection is closed by the server at every first message, expected a ggml RPC server "
        f"[server {endpoint}, tried: HELLO of 24, 0 bytes, GET_ALIGNMENT]"
    )
    assert seen == [LONG_HELLO, SHORT_HELLO, struct.pack("<BQ", 1, 0)]


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ((8, 0, 0), None),
        ((7, 0, 1), "7.0.0"),
        ((6, 0, 4), "6.0.0"),
        ((250, 1, 0), None),
        ((0, 5, 0), None),
    ],
)
def test_an_unknown_version_is_refused_with_a_sentence(answering, version, hint):
    endpoint, _ = answering(hello_reply(*version))
    with pytest.raises(VersionMismatch) as caught:
        connect(endpoint, TIMEOUT)
    sentence = str(caught.value)
    shown = ".".join(map(str, version))
    assert sentence.startswith(f"HELLO: server version is {shown}, expected one of 1.0.0, 2.0.0, ")
    assert f"lengths of messages of {shown} are not known, so wrong ops would run" in sentence
    assert re.findall(r"dialect='([^']+)'", sentence) == ([hint] if hint else [])


def test_a_newer_patch_of_an_old_form_is_refused_too(answering):
    endpoint, _ = answering(b"", short_reply(3, 6, 9))
    with pytest.raises(VersionMismatch, match=r"server version is 3\.6\.9.*dialect='3\.6\.1'"):
        connect(endpoint, TIMEOUT)


@pytest.mark.parametrize(
    ("wanted", "announced"),
    [("7.0.0", (7, 0, 1)), ("5.1.0", (5, 0, 7)), ("5.1.0", (5, 1, 0)), ("5.1.0", (5, 0, 0))],
)
def test_a_dialect_may_be_forced_on_what_its_stock_client_accepts(answering, wanted, announced):
    endpoint, _ = answering(hello_reply(*announced))
    with connect(endpoint, TIMEOUT, dialect=wanted) as connection:
        assert connection.dialect.name == wanted
        assert connection.server_version == announced


@pytest.mark.parametrize(
    ("wanted", "replies", "sentence"),
    [
        (
            "6.0.0",
            [hello_reply(5, 1, 0)],
            "HELLO: server version is 5.1.0, expected 6.0.0, for dialect='6.0.0' [server {}: "
            "FREE_BUFFER is not answered any more: what comes after it is misread; "
            "leave dialect= out, or pass '5.1.0']",
        ),
        (
            "5.1.0",
            [hello_reply(5, 2, 0)],
            "HELLO: server version is 5.2.0, expected 5.1.0, for dialect='5.1.0' [server {}: "
            "numbers and lengths of 5.2.0 are not known; leave dialect= out to see what is known]",
        ),
        (
            "4.0.0",
            [hello_reply(4, 0, 3)],
            "HELLO: server version is 4.0.3, expected 4.0.0, for dialect='4.0.0' [server {}: "
            "41 ops renumbered, first CONV_2D, 55 instead of 56: another one is run, and nobody notices; "
            "leave dialect= out, or pass '4.0.3']",
        ),
        (
            "3.5.0",
            [short_reply(3, 0, 0)],
            "HELLO: server version is 3.0.0, expected 3.5.0, for dialect='3.5.0' [server {}: "
            "GRAPH_COMPUTE is not answered any more: what comes after it is misread; "
            "leave dialect= out, or pass '3.0.0']",
        ),
        (
            "7.0.0",
            [b"", b"", short_reply(3, 6, 1)],
            "HELLO: server version is 3.6.1, expected 7.0.0, for dialect='7.0.0' [server {}: "
            "a HELLO of 24 bytes instead of a HELLO of 0 bytes: the server closes at the first message; "
            "leave dialect= out, or pass '3.6.1']",
        ),
        (
            "none-C",
            [b"", hello_reply(4, 0, 1)],
            "HELLO: server version is 4.0.1, expected none, as of none-C, for dialect='none-C@2024-12-03' [server {}: "
            "no HELLO instead of a HELLO of 24 bytes: the server closes at the first message; "
            "leave dialect= out, or pass '4.0.1']",
        ),
    ],
)
def test_a_mismatch_tells_both_numbers_the_harm_and_the_fix(answering, wanted, replies, sentence):
    endpoint, _ = answering(*replies)
    with pytest.raises(VersionMismatch) as caught:
        connect(endpoint, TIMEOUT, dialect=wanted)
    assert str(caught.value) == sentence.format(endpoint)


def test_a_hello_to_a_server_from_before_it(stock):
    server = stock("none-E@2025-04-17")
    with pytest.raises(VersionMismatch) as caught:
        connect(server.endpoint, TIMEOUT, dialect="3.6.1")
    assert str(caught.value) == (
        "connect: server version is none, as of none-E, expected 3.6.1, for dialect='3.6.1' "
        f"[server {server.endpoint}: a HELLO of 0 bytes instead of no HELLO: the server closes at the first message; "
        "leave dialect= out, or pass 'none-E@2025-04-17']"
    )


def test_a_dialect_that_does_not_exist():
    with pytest.raises(LocalProtocolError, match=r"dialect: name is '9\.9\.9'"):
        connect("127.0.0.1:9", TIMEOUT, dialect="9.9.9")


def last_of_each_label():
    """Every dialect; those that are not the last of their label only in slow runs."""
    names = [*dialect_names(), *fork_names()]
    last = {dialect(name).label: name for name in names}
    return [
        pytest.param(name, marks=[] if name in last.values() else pytest.mark.slow)
        for name in names
    ]


@pytest.mark.parametrize("name", last_of_each_label())
def test_every_dialect_can_be_forced_on_its_server(stock, name):
    server = stock(name)
    with rpc_init(str(server.endpoint), timeout=TIMEOUT, dialect=name) as device:
        assert device.connection.dialect is dialect(name)
        assert device.connection.candidates == (dialect(name),)
        with device.alloc(100) as buffer:
            buffer.set(b"as it was sent")
            assert buffer.get(14) == b"as it was sent"
    assert server.death is None


@pytest.mark.parametrize("name", [*dialect_names(), *fork_names()])
def test_every_server_is_spoken_to_without_being_told(stock, name, caplog):
    """Bytes go and come whatever the numbering is; what is left open is told."""
    caplog.set_level(logging.WARNING, "ggmlrpc.client")
    server = stock(name)
    with rpc_init(str(server.endpoint), timeout=TIMEOUT) as device:
        connection = device.connection
        assert dialect(name) in connection.candidates
        with device.alloc(100) as buffer:
            buffer.set(b"as it was sent")
            assert buffer.get(14) == b"as it was sent"
    assert server.death is None
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (len(connection.candidates) > 1)
    assert all(name in sentence and "pass dialect=" in sentence for sentence in told)
