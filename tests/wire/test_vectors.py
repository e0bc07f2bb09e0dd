"""Every vector decodes to its fields, encodes to its bytes, and is refused when cut or extended."""

import construct
import pytest

from ggmlrpc_core.engine import NEED_DATA, Connection, Role, State
from ggmlrpc_core.errors import RemoteProtocolError, TruncatedFrame
from ggmlrpc_core.wire.commands import COMMANDS
from ggmlrpc_core.wire.dialects import dialect
from ggmlrpc_core.wire.vectors import load_vectors

VECTORS = load_vectors()
each = pytest.mark.parametrize("vector", VECTORS, ids=[f"{v.command}-{v.version}" for v in VECTORS])


def trimmed(values):
    """Names are compared up to their first zero byte; pad bytes are not compared."""
    return {
        k: trimmed(v) if isinstance(v, dict) else v.partition(b"\0")[0] if k == "name" else v
        for k, v in values.items()
        if k != "padding" and not isinstance(v, list)
    }


def server(vector):
    conn = Connection(Role.SERVER, dialect(vector.version))
    conn.state = State.GREETING if vector.command == "HELLO" else State.READY
    return conn


def framed(vector):
    number = dialect(vector.version).by_name[vector.command].number
    return bytes([number]) + len(vector.request).to_bytes(8, "little") + vector.request


def test_every_command_has_a_vector():
    assert {v.command for v in VECTORS} == set(COMMANDS)


@each
def test_request_fields(vector):
    wire = dialect(vector.version).by_name[vector.command]
    fields = wire.request.unpack(vector.request)
    assert trimmed(fields) == trimmed(vector.fields)
    assert wire.request.pack(fields) == vector.request[: wire.request.size]


@each
def test_reply_fields(vector):
    reply = dialect(vector.version).by_name[vector.command].reply
    assert (reply is None) == (vector.reply is None)
    if reply is not None and reply.complete:
        assert reply.unpack(vector.reply) == vector.reply_fields
        assert reply.pack(vector.reply_fields) == vector.reply


@each
def test_construct_reads_and_builds_the_same(vector):
    params = dialect(vector.version).params.as_dict()
    schema = COMMANDS[vector.command].request
    parsed = schema.parse(vector.request, **params)
    assert schema.build(parsed, **params) == vector.request
    for name, value in vector.fields.items():
        if not isinstance(value, dict):
            assert parsed[name] == value


@each
@pytest.mark.parametrize("step", [1, 10**9], ids=["byte by byte", "whole"])
def test_the_engine_reads_it(vector, step):
    conn, data = server(vector), framed(vector)
    events = []
    for at in range(0, len(data), step):
        conn.receive_data(data[at : at + step])
        while conn.body_left:
            taken = conn.take_body(memoryview(bytearray(conn.body_left)))
            if not taken:
                break
        if conn.state in (State.READY, State.GREETING):
            event = conn.next_event()
            if event is not NEED_DATA:
                events.append(event)
                if event.body_size:
                    conn.take_body(memoryview(bytearray(event.body_size)))
    assert [(e.command, e.size) for e in events] == [(vector.command, len(vector.request))]


@each
def test_cut_at_every_length(vector):
    data = framed(vector)
    wire = dialect(vector.version).by_name[vector.command]
    end = 9 + (wire.request.size if wire.body else len(vector.request))
    for n in range(1, end, 1 if end < 400 else 37):
        conn = server(vector)
        conn.receive_data(data[:n])
        assert conn.next_event() is NEED_DATA
        conn.receive_data(b"")
        with pytest.raises(TruncatedFrame):
            conn.next_event()


@each
def test_one_byte_more_or_less_is_refused(vector):
    wire = dialect(vector.version).by_name[vector.command]
    shorter, longer = wire.request.size - 1, len(vector.request) + 1
    for size in (shorter, longer):
        if size < 0 or (size == longer and not wire.request.complete):
            continue
        conn = server(vector)
        conn.receive_data(bytes([wire.number]) + size.to_bytes(8, "little"))
        with pytest.raises(
            RemoteProtocolError, match=f"^{vector.command}: request_size is {size} bytes, expected "
        ):
            conn.next_event()


@each
def test_a_tail_belongs_to_the_next_message(vector):
    conn = server(vector)
    conn.receive_data(framed(vector) + b"\x10")
    event = conn.next_event()
    while conn.body_left:
        conn.take_body(memoryview(bytearray(conn.body_left)))
    assert event.command == vector.command
    if conn.state is State.READY:
        assert conn.next_event() is NEED_DATA


def test_construct_refuses_a_short_payload():
    params = dialect("7.0.0").params.as_dict()
    with pytest.raises(construct.StreamError):
        COMMANDS["ALLOC_BUFFER"].request.parse(b"short", **params)
