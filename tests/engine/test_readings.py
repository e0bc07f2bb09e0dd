"""A peer that may speak several dialects: lengths decide what they can, the owner the rest."""

import struct

import pytest

from ggmlrpc_core.engine import NEED_DATA, Connection, Role, State
from ggmlrpc_core.engine.limits import Limits
from ggmlrpc_core.errors import FrameTooLarge, RemoteProtocolError, UnknownCommand
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.clients import before_hello, foreign_hellos, forms_of
from ggmlrpc_core.wire.dialects import dialect
from ggmlrpc_core.wire.tensors import TensorRecord

RECORD = TensorRecord(id=1, type=0, ne=(4, 1, 1, 1), nb=(4, 16, 16, 16), buffer=0xB, name=b"t")


def message(name, command, body=b"", **fields):
    d = dialect(name)
    wire = d.by_name[command]
    payload = codec.encode_request(d, wire, fields) + body
    return struct.pack("<BQ", wire.number, len(payload)) + payload


def server(name, *, choose=list, foreign=False, **options):
    announced = dialect(name)
    more = (*foreign_hellos(announced), *forms_of(before_hello())) if foreign else ()
    conn = Connection(
        Role.SERVER, announced, candidates=(*forms_of(announced), *more), choose=choose, **options
    )
    if not foreign and "HELLO" in announced.by_name:
        conn.state = State.READY
    return conn


def events(conn, data, step=10**9):
    found = []
    for at in range(0, len(data), step):
        conn.receive_data(data[at : at + step])
        while conn.state in (State.READY, State.GREETING):
            event = conn.next_event()
            if event is NEED_DATA:
                break
            found.append(event)
    return found


@pytest.mark.parametrize(
    ("announced", "spoken", "command", "fields"),
    [
        ("7.0.0", "7.0.0/name128", "INIT_TENSOR", {"tensor": RECORD}),
        ("7.0.0", "7.0.0/name128", "GET_TENSOR", {"tensor": RECORD, "offset": 0, "size": 4}),
        ("3.5.0", "3.6.1", "GET_ALLOC_SIZE", {"device": 0, "tensor": RECORD, "srcs": [RECORD]}),
        ("3.5.0", "3.6.1/name128", "GET_ALLOC_SIZE", {"device": 0, "tensor": RECORD, "srcs": []}),
        ("3.5.0", "ik-3.5.2/12src", "INIT_TENSOR", {"tensor": RECORD}),
        ("ik-3.5.2", "ik-3.5.2/10src", "GET_ALLOC_SIZE", {"device": 0, "tensor": RECORD}),
        ("none-C", "none-B", "GET_TENSOR", {"tensor": RECORD, "offset": 0, "size": 4}),
        ("none-C", "none-E", "GET_DEVICE_MEMORY", {}),
        ("none-C", "none-D", "INIT_TENSOR", {"tensor": RECORD}),
        ("none-E", "none-C", "COPY_TENSOR", {"src": RECORD, "dst": RECORD}),
    ],
)
@pytest.mark.parametrize("step", [1, 10**9], ids=["byte by byte", "whole"])
def test_a_length_tells_the_form(announced, spoken, command, fields, step):
    conn = server(announced)
    (event,) = events(conn, message(spoken, command, **fields), step)
    assert event.command == command
    assert dialect(spoken).form in {one.form for one in conn.candidates}
    assert conn.dialect.tensor.size == dialect(spoken).tensor.size
    assert announced not in {one.name for one in conn.candidates}
    assert (event.fields.get("tensor") or RECORD).buffer == 0xB


def test_what_several_read_alike_is_read_once_and_keeps_them_all():
    conn = server("3.5.0")
    before = conn.candidates
    (event,) = events(conn, message("3.5.0", "DEVICE_COUNT"))
    assert (event.command, conn.candidates) == ("DEVICE_COUNT", before)
    assert conn.dialect is dialect("3.5.0")


def test_a_body_begins_where_the_chosen_form_has_it():
    chosen = []

    def choose(found):
        chosen.extend(found)
        return [one for one in found if one.body_size == 16]

    conn = server("7.0.0", choose=choose)
    data = message("7.0.0/name128", "SET_TENSOR", bytes(range(16)), tensor=RECORD, offset=0)
    conn.receive_data(data)
    event = conn.next_event()
    assert [(one.dialects[0].name, one.body_size) for one in chosen] == [
        ("7.0.0", 80),
        ("7.0.0/name128", 16),
    ]
    assert event.body_size == 16
    into = bytearray(16)
    assert conn.take_body(memoryview(into)) == 16
    assert into == bytes(range(16))
    assert conn.candidates == (dialect("7.0.0/name128"),)


def test_trailing_bytes_of_a_graph_are_counted():
    seen = []
    conn = server("none-C", choose=lambda found: seen.extend(found) or list(found))
    events(conn, message("none-B", "GRAPH_COMPUTE", nodes=[1], tensors=[RECORD]))
    by_size = {one.dialects[0].tensor.size: one.trailing for one in seen}
    assert by_size == {292: 0}  # 296 and more do not fit in it
    seen.clear()
    conn = server("none-B", choose=lambda found: seen.extend(found) or list(found))
    events(conn, message("none-C", "GRAPH_COMPUTE", nodes=[1], tensors=[RECORD]))
    assert {one.dialects[0].label: one.trailing for one in seen} == {
        "none-B": 4,
        "none-D": 0,
        "none-A": 0,
    }


def test_a_first_message_without_hello_is_read_when_the_owner_lets_it():
    conn = server("7.0.0", foreign=True)
    (event,) = events(conn, message("none-C", "GET_ALIGNMENT"))
    assert (event.command, conn.state) == ("GET_ALIGNMENT", State.ANSWERING)
    assert {one.hello_size for one in conn.candidates} == {None}


@pytest.mark.parametrize("name", ["7.0.0", "3.6.1"])
def test_hello_of_either_length(name):
    conn = server("7.0.0", foreign=True)
    (event,) = events(conn, message(name, "HELLO", conn_caps=b""))
    assert (event.command, conn.dialect.hello_size) == ("HELLO", dialect(name).hello_size)


def test_after_hello_the_others_are_gone():
    conn = server("7.0.0", foreign=True)
    events(conn, message("7.0.0", "HELLO", conn_caps=b""))
    assert [one.name for one in conn.candidates] == ["7.0.0", "7.0.0/name128"]


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (b"\xc8", RemoteProtocolError, "HELLO: first command is 200, expected HELLO (14)"),
        (
            struct.pack("<BQ", 14, 23),
            RemoteProtocolError,
            "HELLO: request_size is 23 bytes, expected 24 [protocol 7.0.0]",
        ),
        (
            struct.pack("<BQ", 0, 12),
            RemoteProtocolError,
            "HELLO: first command is ALLOC_BUFFER (0), expected HELLO (14)",
        ),
    ],
)
def test_a_first_message_of_nobody(data, error, sentence):
    conn = server("7.0.0", foreign=True)
    conn.receive_data(data)
    with pytest.raises(error) as caught:
        conn.next_event()
    assert str(caught.value) == sentence
    assert conn.state is State.CLOSED


def test_later_messages_of_nobody():
    conn = server("3.5.0")
    conn.receive_data(b"\x63")
    with pytest.raises(UnknownCommand, match="command is 99"):
        conn.next_event()
    conn = server("3.5.0")
    conn.receive_data(struct.pack("<BQ", 13, 301))
    with pytest.raises(RemoteProtocolError, match="GET_ALLOC_SIZE: request_size is 301 bytes"):
        conn.next_event()
    conn = server("3.5.0", limits=Limits(max_message=100))
    conn.receive_data(struct.pack("<BQ", 10, 101))
    with pytest.raises(FrameTooLarge, match="101 bytes, expected at most 100"):
        conn.next_event()


def test_lists_of_a_graph_that_fit_under_no_form():
    conn = server("3.5.0")
    conn.receive_data(struct.pack("<BQII", 10, 12, 0, 9) + bytes(4))
    with pytest.raises(RemoteProtocolError, match="GRAPH_COMPUTE: request_size is 12 bytes"):
        conn.next_event()


def test_the_owner_drops_an_answer_that_the_peer_does_not_wait_for():
    conn = server("3.0.0")
    events(conn, message("3.0.0", "GRAPH_COMPUTE", nodes=[1], tensors=[RECORD]))
    assert conn.state is State.ANSWERING
    conn.adopt([dialect("3.5.0")])
    assert (conn.state, conn.dialect.name) == (State.READY, "3.5.0")
    conn = server("3.0.0")
    events(conn, message("3.0.0", "GRAPH_COMPUTE", nodes=[1], tensors=[RECORD]))
    conn.adopt([dialect("3.0.0")])
    assert conn.reply(result=0)[:8] == struct.pack("<Q", 1)


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"\xc8", UnknownCommand), (b"\x0e" + struct.pack("<Q", 7), RemoteProtocolError)],
)
def test_a_first_message_of_nobody_where_no_hello_is_announced(data, error):
    announced = dialect("none-C")
    conn = Connection(
        Role.SERVER, announced, candidates=(*forms_of(announced), *foreign_hellos(announced))
    )
    conn.receive_data(data)
    with pytest.raises(error) as info:
        conn.next_event()
    assert str(info.value).startswith("request: command is ")
