"""Replays on our own server, and on servers that lie."""

import json

import numpy as np
import pytest

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.ggml.fnv import fnv1a_64
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.player import replay
from ggmlrpc_core.wire.dialects import dialect, wire_states


def played(path, *targets, timeout=30.0):
    with Recording(path) as recording:
        return replay(recording, targets, timeout=timeout)


@pytest.mark.parametrize("name", [d.name for d in wire_states()])
def test_a_recording_replays_on_a_fresh_server(name, recorded, serve):
    report = played(recorded(name), serve(name))
    assert report.ok and report.complete, report.text()
    assert report.to_dict()["data"] == {"compared": 3, "equal": 3}


def test_it_replays_on_a_server_with_other_addresses_and_other_buffers(recorded, serve, Client):
    path, endpoint = recorded(), serve()
    with Client(endpoint) as other:
        other.alloc(12345)
        assert played(path, endpoint).ok


def lie(where, how):
    """Change the n-th answer of a command."""
    command, n = where
    seen = []

    def change(name, reply):
        seen.append(name)
        return how(reply) if name == command and seen.count(command) == n else reply

    return change


def scaled(data, factor):
    return (np.frombuffer(data, "<f4") * factor).astype("<f4").tobytes()


BEFORE = "SET_TENSOR, SET_TENSOR, GRAPH_COMPUTE"
FAULTS = [
    (("GET_TENSOR", 1), lambda r: scaled(r, 1.1), "nmse is 0.01, expected at most 0.001"),
    (("GET_TENSOR", 2), lambda r: r[:-4] + b"\0\0\xc0\x7f", "not finite"),
    (("GET_TENSOR", 3), lambda r: r[:-1], "reply_size is 255 bytes, expected 256"),
    (("GET_TENSOR", 1), lambda r: None, f"closed by the server, expected an answer [not answered before: {BEFORE}]"),
    (("HELLO", 1), lambda r: b"\x06" + r[1:], "server version is 6.0.0"),
    (("ALLOC_BUFFER", 1), lambda r: bytes(16), "remote_ptr is 0"),
    (("BUFFER_GET_BASE", 1), lambda r: bytes(8), "base_ptr is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "how", "what"), FAULTS)
def test_a_wrong_answer_is_a_fault_with_its_line(where, how, what, recorded, liar):
    path = recorded()
    report = played(path, liar(lie(where, how)), timeout=5.0)
    assert not report.ok
    first = report.faults[0]
    assert what in first.fault
    line = json.loads((path / "session.jsonl").read_text().splitlines()[first.line - 1])
    assert line["cmd"] == where[0]


def test_small_differences_are_within_the_tolerance(recorded, liar):
    slight = lie(("GET_TENSOR", 1), lambda r: scaled(r, 1.0001))
    report = played(recorded(), liar(slight))
    assert report.ok and 0 < report.worst < 1e-7


def test_a_silent_server_is_given_up(recorded):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        report = played(recorded(), Endpoint("127.0.0.1", sock.getsockname()[1]), timeout=0.1)
    assert "silent for 0.1 seconds" in report.faults[0].fault
    assert report.unsent == 11


def test_nobody_listens(recorded):
    report = played(recorded(), Endpoint("127.0.0.1", 1))
    assert report.faults[0].command == "open"
    assert "expected one that listens" in report.faults[0].fault


def test_a_server_that_must_close_and_does_not(serve, record, Client, tmp_path):
    recorder = record(serve())
    with Client(recorder.endpoints[0]) as client:
        client.sock.sendall(client.message("BUFFER_GET_BASE", remote_ptr=5))
        assert client.sock.recv(1) == b""
    recorder.close()
    path = tmp_path / "x.ggrec"
    assert played(path, serve()).ok
    lines = (
        (path / "session.jsonl")
        .read_text()
        .replace('{"c":1,"cmd":"BUFFER_GET_BASE"', '{"c":1,"cmd":"FREE_BUFFER"')
    )
    (path / "session.jsonl").write_text("\n".join(lines.splitlines()[:-1]) + "\n")
    assert played(path, serve()).ok
    lines = (path / "session.jsonl").read_text().replace('"buf":{"ptr":1}', '"buf":0')
    lines = lines.replace('"cmd":"FREE_BUFFER","buf":0', '"cmd":"DEVICE_COUNT"')
    (path / "session.jsonl").write_text(lines)
    report = played(path, serve(), timeout=0.5)
    assert "expected it to close" in report.faults[0].fault


def test_two_servers(serve, record, session, Client, tmp_path):
    recorder = record(serve(), serve())
    for endpoint in recorder.endpoints:
        with Client(endpoint) as client:
            session(client)
    recorder.close()
    assert played(tmp_path / "x.ggrec", serve(), serve()).ok
    assert played(tmp_path / "x.ggrec", serve()).ok  # one stands for both


@pytest.mark.parametrize("answers", ([0, 0], [0, 1], [1, 1]))
def test_a_hash_cache_may_have_the_data_or_not(answers, record, liar, Client, tensor, tmp_path):
    """Recorded with a miss and a hit; replayed with each."""

    def cache(answers):
        left = [bytes([a]) for a in reversed(answers)]
        uploads.clear()
        return liar(lambda name, reply: left.pop() if name == "SET_TENSOR_HASH" else reply)

    uploads = []
    recorder = record(cache([0, 1]))
    with Client(recorder.endpoints[0]) as client:
        data = bytes(range(200)) * 20
        for k in (1, 2):
            handle, base = client.alloc(4000)
            t = tensor(handle, base, 1000, id=k)
            if (
                client.ask("SET_TENSOR_HASH", tensor=t, offset=0, hash=fnv1a_64(data))["result"]
                == 0
            ):
                client.tell("SET_TENSOR", data, tensor=t, offset=0)
            client.ask("DEVICE_COUNT")
    recorder.close()
    report = played(tmp_path / "x.ggrec", cache(answers))
    assert report.ok, report.text()


def test_a_hit_whose_data_nobody_has_is_a_fault(record, liar, Client, tensor, tmp_path):
    recorder = record(liar(lambda name, reply: b"\1" if name == "SET_TENSOR_HASH" else reply))
    with Client(recorder.endpoints[0]) as client:
        handle, base = client.alloc(4000)
        client.ask("SET_TENSOR_HASH", tensor=tensor(handle, base, 1000), offset=0, hash=5)
    recorder.close()
    report = played(tmp_path / "x.ggrec", liar(lambda name, reply: reply))
    assert "and the recording has none" in report.faults[0].fault


def test_a_declined_copy_is_done_by_hand(serve, record, liar, Client, tensor, tmp_path):
    recorder = record(serve())
    with Client(recorder.endpoints[0]) as client:
        handle, base = client.alloc(512)
        a, b = tensor(handle, base, 16, id=1), tensor(handle, base + 256, 16, id=2)
        client.tell("SET_TENSOR", bytes(range(64)), tensor=a, offset=0)
        assert client.ask("COPY_TENSOR", src=a, dst=b) == {"result": 1}
        assert client.get(b, 64) == bytes(range(64))
    recorder.close()
    declines = lie(("COPY_TENSOR", 1), lambda reply: b"\0")
    assert played(tmp_path / "x.ggrec", liar(declines)).ok


def test_a_cut_upload_is_cut_again(serve, record, Client, tensor, tmp_path):
    recorder = record(serve())
    with Client(recorder.endpoints[0]) as client:
        handle, base = client.alloc(4000)
        message = client.message(
            "SET_TENSOR", bytes(4000), tensor=tensor(handle, base, 1000), offset=0
        )
        client.sock.sendall(message[:-100])
    recorder.close()
    endpoint = serve()
    assert played(tmp_path / "x.ggrec", endpoint).ok
    with Client(endpoint) as client:
        assert client.ask("DEVICE_COUNT") == {"device_count": 1}


def test_names_hold_the_endpoint_of_the_replay(recorded, liar, serve):
    """The server behind sees what a client of it would write."""
    path = recorded()
    with Recording(path) as recording:
        names = [
            event.payload
            for _, _, event in recording.events(recording.reader(endpoints=Named()))
            if event is not None and getattr(event, "command", "") == "GRAPH_COMPUTE"
        ]
    assert b"RPC0[other.example:50052]#x#0" in names[0]
    assert dialect("7.0.0").name == "7.0.0"


class Named:
    def number(self, text):
        return 0

    def text(self, number):
        return "other.example:50052"
