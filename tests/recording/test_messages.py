"""Lossless: the bytes of a request come back from its lines, for every state of the wire."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.data import Data, in_line
from ggmlrpc_core.recording.messages import Close, LineReader, LineWriter, Message, Open, Raw
from ggmlrpc_core.recording.space import SLOT, MadeUp, Pointers, Space
from ggmlrpc_core.recording.tensors import TensorLines
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import dialect, newest, wire_states, with_long_names

STATES = [*wire_states(), with_long_names(newest())]
EVERY = [d for state in wire_states() for d in (state, with_long_names(state))]
SIZES = (100, 3 * SLOT + 5, 0)
EDGES = [0, 1, 2, 3, 15, 16, 90, 255, 1 << 31, (1 << 32) - 1, SLOT, SLOT - 1, 2 * SLOT + 7]
EDGES += [5 * SLOT, 0x7F3A00001230, 1 << 63, (1 << 64) - 1]


class Names:
    def number(self, text):
        return 2 if text == "10.0.0.7:50052" else 0

    def text(self, number):
        return "10.0.0.7:50052" if number == 2 else f"${number}"


def pair(d, pointers=None):
    """A writer and a reader whose pointers are the same."""
    pointers = pointers or Pointers()
    both = []
    for kind in (LineWriter, LineReader):
        space = Space()
        lines = kind(d, TensorLines(d, space, pointers=pointers, endpoints=Names()))
        for size in SIZES:
            space.add(size)
        both.append(lines)
    both[1].event({"c": 1, "open": 1}, where="test")
    return both


def through(writer, reader, event):
    """An event by way of the text of its lines."""
    found = None
    for line in writer.lines(event):
        found = reader.event(json.loads(json.dumps(line)), where="test")
    return found


NAMES = [b"", b"w", b"RPC0[10.0.0.7:50052]#x#0", b"[$2]", b"\xff\xfe", b"a\0stack", b"x" * 200]


def rows_of(d, rng, n):
    """Tensors with values that the lines treat in different ways, some of them random bytes."""
    rows = np.zeros(n, codec.tensor_dtype(d))
    octets = rows.view(np.uint8).reshape(n, rows.itemsize)
    for i, row in enumerate(rows):
        if rng.random() < 0.3:
            octets[i] = rng.integers(0, 256, rows.itemsize, np.uint8)
            continue
        for key in ("id", "buffer", "data", "view_src", "view_offs"):
            row[key] = EDGES[rng.integers(len(EDGES))]
        row["type"], row["op"], row["op_params"][0] = rng.integers(0, (45, 110, 25))
        row["ne"] = rng.choice([0, 1, 2, 32, 256, (1 << 32) - 1], 4)
        row["nb"] = rng.choice([2, 4, 18, 128, 1 << 31], 4)
        row["src"][0] = EDGES[rng.integers(len(EDGES))]
        row["flags"] = rng.choice([0, 16, -1])
        row["name"] = NAMES[rng.integers(len(NAMES))][: d.max_name]
    return rows


def request(d, wire, rng):
    """A request's fixed payload with such tensors in it."""
    if wire.counted:
        rows = rows_of(d, rng, rng.integers(0, 5))
        ids = [*rows["id"].tolist(), 99]
        nodes = [ids[i] for i in rng.integers(0, len(ids), 3)]
        payload = codec.encode_request(d, wire, {"nodes": nodes, "tensors": rows})
        return payload + [b"", b"", b"trailing"][rng.integers(3)]
    payload = bytearray(rng.bytes(wire.request.size))
    at, size = 0, d.tensor.size
    for f in wire.request.fields:
        n = (1 if f.scalar else f.count) if f.inner else 0
        if n:
            payload[at : at + n * size] = (
                rows_of(d, rng, min(n, 2)).tobytes().ljust(n * size, b"\0")
            )
        at += n * size or {"s": f.count, "B": 1, "I": 4, "i": 4, "Q": 8}[f.code]
    return bytes(payload)


@pytest.mark.parametrize("d", STATES, ids=lambda d: d.name)
@settings(max_examples=2, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 1 << 32))
def test_every_request_comes_back_with_its_bytes(d, seed):
    check_requests(d, seed)


@pytest.mark.slow
@pytest.mark.parametrize("d", EVERY, ids=lambda d: d.name)
@settings(max_examples=100, deadline=None, database=None)
@given(seed=st.integers(0, 1 << 32))
def test_many_requests_come_back_with_their_bytes(d, seed):
    check_requests(d, seed)


def check_requests(d, seed):
    """One request of every command."""
    writer, reader = pair(d)
    rng = np.random.default_rng(seed)
    for wire in d.by_name.values():
        payload = request(d, wire, rng)
        carried = in_line(b"abc") if wire.body else None
        event = Message(1, wire.name, payload, carried)
        assert through(writer, reader, event) == event
        assert through(writer, reader, event) == event  # from what was said before


@pytest.mark.parametrize("d", STATES, ids=lambda d: d.name)
def test_every_answer_comes_back_with_its_bytes(d):
    writer, reader = pair(d)
    for wire in d.by_name.values():
        if wire.reply is None:
            continue
        reply = bytes(range(1, wire.reply.size + 1))
        if wire.name == "ALLOC_BUFFER":
            reply = (len(SIZES) + 1).to_bytes(8, "little") + (77).to_bytes(8, "little")
        if wire.name == "BUFFER_GET_BASE":
            reply = SLOT.to_bytes(8, "little")
        if wire.reply_body:
            reply = b""
        payload = (
            codec.encode_request(d, wire, {"nodes": [], "tensors": []})
            if wire.counted
            else bytes(wire.request.size)
        )
        for answer in (
            (reply, None) if wire.reply_body or wire.reply.size == 0 else (reply, b"odd", None)
        ):
            event = Message(
                1, wire.name, payload, in_line(b"") if wire.body else None, reply=answer
            )
            assert through(writer, reader, event) == event
            if wire.name == "ALLOC_BUFFER":
                reply = bytes(16)  # the next one is that no memory was there


def test_lines_with_made_up_pointers_are_the_same_lines():
    """Numbers of pointers do not depend on where a client's heap was."""
    d = dialect("7.0.0")
    writer, _ = pair(d)
    rows = np.zeros(3, codec.tensor_dtype(d))
    rows["id"], rows["ne"], rows["nb"] = (0x7F1000, 0x7F2000, 0x7F1500), 1, 4
    payload = codec.encode_request(
        d, d.by_name["GRAPH_COMPUTE"], {"nodes": [0x7F2000], "tensors": rows}
    )
    lines = writer.lines(Message(1, "GRAPH_COMPUTE", payload))
    _, reader = pair(d, MadeUp())
    for line in lines:
        again = reader.event(line, where="test")
    assert pair(d, MadeUp())[0].lines(again) == lines


def test_a_second_like_graph_is_what_changed():
    d = dialect("7.0.0")
    writer, reader = pair(d)
    rows = np.zeros(40, codec.tensor_dtype(d))
    rows["id"], rows["ne"], rows["nb"] = np.arange(1, 41), 1, 4
    wire = d.by_name["GRAPH_COMPUTE"]
    events = []
    for change in (0, 5, 0):
        rows["view_offs"][7] = change
        payload = codec.encode_request(d, wire, {"nodes": [3, 2], "tensors": rows})
        events.append(Message(1, "GRAPH_COMPUTE", payload))
    assert len(writer.lines(events[0])) == 42
    assert writer.lines(events[1])[:-1] == [
        {"graph": 2, "like": 1, "changed": 1},
        {"i": 7, "set": {"view_offs": 5}},
    ]
    assert len(writer.lines(events[2])) == 1
    writer, _ = pair(d)
    assert [through(writer, reader, e) for e in events] == events


def test_ends_raw_bytes_and_cut_messages_come_back():
    d = dialect("7.0.0")
    writer, reader = pair(d)
    head = bytes(d.by_name["SET_TENSOR"].request.size)
    events = [
        Open(2, 1),
        Raw(2, in_line(b"\xff\x00")),
        Message(2, "SET_TENSOR", head, Data(3, raw=b"abc"), 1 << 50),
        Close(2, "server"),
    ]
    events[2] = Message(2, "SET_TENSOR", head, Data(3, raw=b"abc"), 1 << 39)
    assert [through(writer, reader, e) for e in events] == events


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"c": 9, "cmd": "GET_ALIGNMENT"}, "a connection that is open"),
        ({"c": 1, "open": 1}, "a connection that is not open"),
        ({"c": 1, "cmd": "NOPE"}, "cmd is 'NOPE', expected one of"),
        ({"c": 1, "cmd": "GET_ALIGNMENT", "device": -1}, "device is -1"),
        ({"c": 1, "cmd": "GET_ALIGNMENT", "device": 0, "x": 1}, "field is x"),
        ({"c": 1, "cmd": "FREE_BUFFER", "buf": 17}, "buf is 17, expected a buffer that"),
        ({"c": 1, "cmd": "FREE_BUFFER", "buf": True}, "buf is True"),
        ({"c": 1, "cmd": "INIT_TENSOR", "tensor": 4}, "a tensor that came before"),
        ({"c": 1, "cmd": "INIT_TENSOR", "tensor": {"id": 1, "type": "Q9"}}, "type is 'Q9'"),
        (
            {"c": 1, "cmd": "INIT_TENSOR", "tensor": {"id": 1, "type": "F32", "ne": [1] * 5}},
            "ne is",
        ),
        ({"c": 1, "cmd": "GRAPH_COMPUTE", "graph": 3}, "graph is 3, expected one of the last"),
        ({"graph": 2, "tensors": 1}, "graph is 2"),
        (
            {
                "c": 1,
                "cmd": "ALLOC_BUFFER",
                "device": 0,
                "size": 1,
                "rsp": {"buf": 9, "remote_size": 1},
            },
            "buf is 9",
        ),
        ({"c": 1, "close": "nobody"}, "close is 'nobody'"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(line, what):
    _, reader = pair(dialect("7.0.0"))
    with pytest.raises(RecordingError, match=r"^x line 3: ") as caught:
        reader.event(line, where="x line 3")
    assert what in str(caught.value)
