"""Input that must close its connection with one line that says what was found and what was expected.

Numbers in the ids are those of the list of bugs and advisories in docs/reference/protocol. After each
the process and another client go on.
"""

import struct

import pytest

from ggmlrpc_core.server.limits import ServerLimits
from ggmlrpc_core.testing.null import NullDevice

U64 = struct.Struct("<Q").pack
U32 = struct.Struct("<I").pack
TENSOR, NE, NB, OP, BUFFER, DATA = 296, 20, 36, 52, 12, 220


def header(command, size):
    return struct.pack("<BQ", command, size)


# --- framing


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        pytest.param(
            b"\x01",
            "HELLO: the client is of before 2025-04-18, which sends no HELLO, expected a HELLO of 24 bytes, as with "
            "7.0.0, which is announced here [no answer would be understood; serve it with --dialect auto, or --listen "
            "PORT=NAME, where NAME is one of none-E, none-D, none-C, none-B, none-A]",
            id="no-hello",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\n\r\n",
            "HELLO: first command is 71, expected HELLO (14)",
            id="http",
        ),
        pytest.param(
            header(14, 23) + bytes(23),
            "HELLO: request_size is 23 bytes, expected 24 [protocol 7.0.0]",
            id="hello-of-23",
        ),
        pytest.param(
            header(14, 25) + bytes(25),
            "HELLO: request_size is 25 bytes, expected 24 [protocol 7.0.0]",
            id="hello-of-25",
        ),
    ],
)
def test_before_hello(start, peer, log, sent, sentence):
    one = peer(start(), hello=False)
    one.send(sent)
    assert one.is_closed()
    (line,) = log
    assert line.startswith("[c1 127.0.0.1:") and line.endswith(f"] closed: {sentence}")


FRAMES = {
    "second-hello": (
        header(14, 24) + bytes(24),
        "HELLO: command is a second HELLO, expected any other command",
    ),
    "7-command-255": (
        b"\xff",
        "request: command is 255, expected a command of the dialect [protocol 7.0.0]",
    ),
    "command-18": (
        b"\x12",
        "request: command is 18, expected a command of the dialect [protocol 7.0.0]",
    ),
    "8-length-2^40": (
        header(10, 1 << 40),
        f"GRAPH_COMPUTE: request_size is {1 << 40} bytes, expected at most 134217728",
    ),
    "43-length-2^63": (
        header(0, 1 << 63),
        f"ALLOC_BUFFER: request_size is {1 << 63} bytes, expected 12 [protocol 7.0.0]",
    ),
    "alignment-of-length-0": (
        header(1, 0),
        "GET_ALIGNMENT: request_size is 0 bytes, expected 4 [protocol 7.0.0]",
    ),
    "upload-without-head": (
        header(6, 304),
        "SET_TENSOR: request_size is 304 bytes, expected at least 305 [protocol 7.0.0]",
    ),
    "graph-with-too-many-nodes": (
        header(10, 12) + U32(0) + U32(0xFFFFFFFF) + U32(0),
        f"GRAPH_COMPUTE: request_size is 12 bytes, expected at least {12 + 8 * 0xFFFFFFFF}"
        " [n_nodes 4294967295]",
    ),
    "graph-with-too-many-tensors": (
        header(10, 12) + U32(0) + U32(0) + U32(0xFFFFFFFF),
        f"GRAPH_COMPUTE: request_size is 12 bytes, expected at least {12 + 296 * 0xFFFFFFFF}"
        " [n_nodes 0, n_tensors 4294967295]",
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_bad_frames(start, peer, client, log, name):
    server = start()
    sent, sentence = FRAMES[name]
    other, one = client(server), peer(server)
    one.send(sent)
    assert one.is_closed()
    (line,) = log
    assert line.startswith("[c2 127.0.0.1:") and line.endswith(f"] closed: {sentence}")
    assert other.call("DEVICE_COUNT") == {"device_count": 1}


def test_the_end_inside_a_message(start, peer, log):
    one = peer(start())
    one.send(header(10, 1000) + bytes(10))
    one.sock.shutdown(1)
    assert one.is_closed()
    (line,) = log
    assert line.endswith("closed: stream: message is 19 bytes long at its end, expected 1009 bytes")


def test_the_end_inside_an_upload(start, peer, tensor, log):
    one = peer(start())
    t = tensor(*one.alloc(100), 25)
    one.tell("INIT_TENSOR", tensor=t)  # now the length of names is known
    message = one.message("SET_TENSOR", bytes(100), tensor=t, offset=0)
    one.send(message[:-60])
    one.sock.shutdown(1)
    assert one.is_closed()
    (line,) = log
    assert line.endswith("closed: body: bytes missing at its end is 60, expected 0")


# --- handles, devices, tensors, regions; the buffer has 1000 bytes


def whole(t, h, b, **more):
    return {"tensor": t(h, b, 250, **more)}


SINGLE = {
    # id: (command, fields from (tensor, handle, base), body, patches of the payload, sentence)
    "device": ("GET_ALIGNMENT", lambda t, h, b: {"device": 1}, b"", {}, "device is 1, expected below 1"),
    "alloc-device": (
        "ALLOC_BUFFER",
        lambda t, h, b: {"device": 7, "size": 1},
        b"", {}, "device is 7, expected below 1",
    ),
    "1-base-of-unknown": (
        "BUFFER_GET_BASE",
        lambda t, h, b: {"remote_ptr": 0x123},
        b"", {}, "remote_ptr is 0x123, expected a buffer of this connection",
    ),
    "1-free-of-unknown": (
        "FREE_BUFFER",
        lambda t, h, b: {"remote_ptr": 0},
        b"", {}, "remote_ptr is 0x0, expected a buffer of this connection",
    ),
    "1-clear-of-unknown": (
        "BUFFER_CLEAR",
        lambda t, h, b: {"remote_ptr": 5, "value": 0},
        b"", {}, "remote_ptr is 0x5, expected a buffer of this connection",
    ),
    "4-get-outside": (
        "GET_TENSOR",
        lambda t, h, b: {"tensor": t(h, b + 4, 250), "offset": 0, "size": 4},
        b"", {}, "tensor region is [",
    ),
    "5-set-outside": (
        "SET_TENSOR",
        lambda t, h, b: {"tensor": t(h, b - 4, 1), "offset": 0},
        b"1234", {}, "tensor region is [",
    ),
    "46-one-byte-before": (
        "GET_TENSOR",
        lambda t, h, b: {"tensor": t(h, b - 1, 1), "offset": 0, "size": 4},
        b"", {}, "tensor region is [",
    ),
    "4-address-wraps": (
        "GET_TENSOR",
        lambda t, h, b: {"tensor": t(h, (1 << 64) - 4, 250), "offset": 0, "size": 4},
        b"", {}, "tensor region is [",
    ),
    "6-dead-type": (
        "INIT_TENSOR", whole, b"", {8: U32(0xFFFFFFFF)},
        "tensor.type is 4294967295, expected a live type",
    ),
    "19-type-without-blocks": (
        "GET_ALLOC_SIZE",
        lambda t, h, b: {"device": 0, **whole(t, h, b), "srcs": []},
        b"", {4 + 8: U32(4)}, "tensor.type is 4, expected a live type",
    ),
    "31-half-a-block": (
        "INIT_TENSOR", lambda t, h, b: whole(t, h, b, type="Q4_0", ne=(31, 1, 1, 1)), b"", {},
        "tensor.ne[0] is 31, expected a multiple of 32",
    ),
    "48-extents-overflow": (
        "INIT_TENSOR", whole, b"", {NE: U32(0xFFFFFFFF) * 4, NB: U32(0xFFFFFFFF) * 4},
        "tensor region is [",
    ),
    "17-set-without-buffer": (
        "SET_TENSOR", lambda t, h, b: {"tensor": t(0, 0, 4), "offset": 0}, b"1234", {},
        "tensor.buffer is 0x0, expected a buffer of this connection",
    ),
    "17-get-without-buffer": (
        "GET_TENSOR", lambda t, h, b: {"tensor": t(99, b, 4), "offset": 0, "size": 4}, b"", {},
        "tensor.buffer is 0x63, expected a buffer of this connection",
    ),
    "17-memset-without-buffer": (
        "MEMSET_TENSOR",
        lambda t, h, b: {"tensor": t(0, 0, 4), "offset": 0, "size": 1, "value": 1},
        b"", {}, "tensor.buffer is 0x0, expected a buffer of this connection",
    ),
    "17-copy-without-buffer": (
        "COPY_TENSOR", lambda t, h, b: {"src": t(0, 0, 4), "dst": t(h, b, 4)}, b"", {},
        "tensor.buffer is 0x0, expected a buffer of this connection",
    ),
    "12-copy-over-the-end": (
        "COPY_TENSOR",
        lambda t, h, b: {"src": t(h, b, 250), "dst": t(h, b + 996, 1, name="end")},
        b"", {}, "size of the source is 1000, expected at most 4, the room in the destination's buffer",
    ),
    "50-get-beyond-the-tensor": (
        "GET_TENSOR",
        lambda t, h, b: {"tensor": t(h, b, 10), "offset": 0, "size": 44},
        b"", {}, "region is [0, 44), expected inside [0, 40) of the tensor",
    ),
    "set-beyond-the-tensor": (
        "SET_TENSOR",
        lambda t, h, b: {"tensor": t(h, b, 10), "offset": 38},
        b"1234", {}, "region is [38, 42), expected inside [0, 40) of the tensor",
    ),
    "set-of-nothing-at-the-end": (
        "SET_TENSOR", lambda t, h, b: {**whole(t, h, b), "offset": 1000}, b"", {},
        "region is [1000, 1000), expected inside [0, 1000) of the tensor and below 1000, the end",
    ),
    "get-with-an-offset-that-wraps": (
        "GET_TENSOR",
        lambda t, h, b: {**whole(t, h, b), "offset": (1 << 64) - 4, "size": 8},
        b"", {}, f"region is [{(1 << 64) - 4}, {(1 << 64) + 4}), expected inside [0, 1000)",
    ),
    "memset-beyond-the-tensor": (
        "MEMSET_TENSOR",
        lambda t, h, b: {"tensor": t(h, b, 10), "offset": 40, "size": 1, "value": 1},
        b"", {}, "region is [40, 41), expected inside [0, 40) of the tensor",
    ),
    "recompute-before-any-graph": (
        "GRAPH_RECOMPUTE", lambda t, h, b: {"device": 0}, b"", {},
        "stored graph of device 0 is none, expected one that GRAPH_COMPUTE left",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_bad_requests(start, peer, client, tensor, log, name):
    command, fields, body, patch, sentence = SINGLE[name]
    server = start()
    other, one = client(server), peer(server)
    one.tell(command, body, patch=patch, **fields(tensor, *one.alloc(1000)))
    assert one.is_closed()
    (line,) = log
    assert f"] closed: {command}: {sentence}" in line
    assert other.call("DEVICE_COUNT") == {"device_count": 1}


def test_a_handle_of_another_client_is_unknown(start, peer, tensor, log):
    server = start()
    owner, thief = peer(server), peer(server)
    handle, base = owner.alloc(1000)
    thief.tell("GET_TENSOR", tensor=tensor(handle, base, 250), offset=0, size=4)
    assert thief.is_closed()
    assert owner.get(tensor(handle, base, 250), 0, 4) == bytes(4)
    (line,) = log
    assert f"GET_TENSOR: tensor.buffer is {handle:#x}, expected a buffer of this connection" in line


def test_free_twice(start, peer, log):
    one = peer(start())
    handle, _ = one.alloc(10)
    one.tell("FREE_BUFFER", remote_ptr=handle)
    one.tell("FREE_BUFFER", remote_ptr=handle)
    assert one.is_closed()
    (line,) = log
    assert f"FREE_BUFFER: remote_ptr is {handle:#x}, expected a buffer of this connection" in line


def test_22_recompute_after_free(start, peer, add_graph, log):
    device = NullDevice("NULL0")
    one = peer(start(device))
    handle, base = one.alloc(256)
    one.tell("GRAPH_COMPUTE", device=0, **add_graph(handle, base))
    one.tell("FREE_BUFFER", remote_ptr=handle)
    one.tell("GRAPH_RECOMPUTE", device=0)
    assert one.is_closed()
    assert len(device.ran) <= 1
    (line,) = log
    assert "GRAPH_RECOMPUTE: stored graph of device 0 is none" in line


# --- graphs: c = a + b, and one thing wrong with it


def without_c(graph):
    graph["tensors"].pop()


def without_a(graph):
    graph["tensors"].pop(0)


def change(row, **fields):
    def apply(graph):
        graph["tensors"][row] = graph["tensors"][row]._replace(**fields)

    return apply


def node_twice(graph):
    graph["nodes"] = [13, 13]


def node_zero(graph):
    graph["nodes"] = [0]


GRAPHS = {
    "9-buffer-unknown": (change(0, buffer=77), "data of a tensor without buffer is 0x"),
    "20-address-without-buffer": (
        change(1, buffer=0, data=0x7FFF00001000),
        "data of a tensor without buffer is 0x7fff00001000, expected 0",
    ),
    "21-read-of-nothing": (
        change(1, buffer=0, data=0),
        "buffer is 0x0, expected a buffer of this connection for a tensor that is computed or read",
    ),
    "13-source-missing": (without_a, "source id of 'c' is 0xb, expected an id of the tensor list"),
    "13-node-missing": (without_c, "node id is 0xd, expected an id of the tensor list"),
    "30-node-zero": (node_zero, "node id is 0x0, expected an id of the tensor list"),
    "42-node-twice": (node_twice, "node list is one id twice, expected each id once"),
    "region-outside": (change(2, data=1), "region is [0x1, 0x41), expected inside its buffer"),
    "48-strides-leave-the-buffer": (
        change(0, nb=(4096, 4096, 4096, 4096)),
        "region is [",
    ),
    "shapes-differ": (
        change(1, ne=(5, 1, 1, 1)),
        "src[1].ne is [5, 1, 1, 1], expected extents that divide src[0].ne [ADD 'c']",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_bad_graphs(start, peer, client, add_graph, log, name):
    spoil, sentence = GRAPHS[name]
    device = NullDevice("NULL0")
    server = start(device)
    other, one = client(server), peer(server)
    graph = add_graph(*one.alloc(256))
    spoil(graph)
    one.tell("GRAPH_COMPUTE", device=0, **graph)
    assert one.is_closed()
    (line,) = log
    assert f"] closed: GRAPH_COMPUTE: {sentence}" in line
    assert device.ran == []
    assert other.call("DEVICE_COUNT") == {"device_count": 1}


def test_36_a_chain_of_many_tensors(start, peer, tensor, log):
    one = peer(start(NullDevice("NULL0")))
    handle, base = one.alloc(64)
    n = 20_000
    links = [
        tensor(handle, base, 16, id=i + 1, op="SCALE" if i else "NONE", src=(i,)) for i in range(n)
    ]
    one.tell("GRAPH_COMPUTE", device=0, nodes=[n], tensors=links)
    assert one.ask("DEVICE_COUNT") == {"device_count": 1}
    assert log == []


# --- patience and numbers


def test_hello_must_come_in_time(start, peer, log):
    one = peer(start(limits=ServerLimits(hello_timeout=0.05)), hello=False)
    assert one.is_closed()
    (line,) = log
    assert line.endswith("closed: HELLO: message is missing, expected within 0.05 seconds")


def test_a_stall_inside_a_message(start, peer, log):
    one = peer(start(limits=ServerLimits(stall_timeout=0.05)))
    one.send(header(10, 1000) + bytes(10))
    assert one.is_closed()
    (line,) = log
    assert line.endswith(
        "closed: connection: progress inside a message is none, expected some within 0.05 seconds"
    )


def test_a_stall_inside_an_upload(start, peer, tensor, log):
    one = peer(start(limits=ServerLimits(stall_timeout=0.05)))
    message = one.message("SET_TENSOR", bytes(100), tensor=tensor(*one.alloc(100), 25), offset=0)
    one.send(message[:-60])
    assert one.is_closed()
    assert len(list(log)) == 1


def test_silence_between_messages_is_fine(start, peer):
    limits = ServerLimits(hello_timeout=20, stall_timeout=0.02)
    one = peer(start(limits=limits))
    one.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        one.sock.recv(1)
    one.sock.settimeout(20)
    assert one.ask("DEVICE_COUNT") == {"device_count": 1}


def test_too_many_clients(start, peer, log):
    server = start(limits=ServerLimits(max_clients=1))
    first, second = peer(server), peer(server, hello=False)
    assert second.is_closed()
    (line,) = log
    assert line.endswith("closed: server: number of clients is 2, expected at most 1")
    assert first.ask("DEVICE_COUNT") == {"device_count": 1}
