"""A recorder between our server and a client that speaks as a stock one does."""

import threading

import numpy as np
import pytest

from ggmlrpc_core.recording.file import ALIGNMENT, Recording
from ggmlrpc_core.recording.messages import Close, Message, Open
from ggmlrpc_core.recording.proxy import Recorder, Route
from ggmlrpc_core.wire.dialects import dialect, wire_states


def events_of(path):
    with Recording(path) as recording:
        found = [event for _, _, event in recording.events() if event is not None]
        assert recording.complete
        return found


def names(path, conn=1):
    return [e.command for e in events_of(path) if isinstance(e, Message) and e.conn == conn]


@pytest.mark.parametrize("name", [d.name for d in wire_states()])
def test_a_client_hears_what_it_hears_without_a_recorder(
    name, serve, record, session, Client, tmp_path
):
    endpoint = serve(name)
    with Client(endpoint, name) as client:
        direct = session(client)
    recorder = record(endpoint, dialect=dialect(name))
    with Client(recorder.endpoints[0], name) as client:
        assert np.array_equal(session(client), direct)
    assert recorder.close()[1] == 1
    events = events_of(tmp_path / "x.ggrec")
    assert isinstance(events[0], Open) and events[-1] == Close(1, "client")
    reads = [e for e in events if isinstance(e, Message) and e.command == "GET_TENSOR"]
    assert [e.tolerance for e in reads] == ["computed", "computed", "computed"]
    assert [np.frombuffer(e.answer.whole(None), "<f4").tolist() for e in reads[:2]] == [
        s.tolist() for s in direct
    ]


def test_two_recordings_of_one_run_are_equal(serve, record, session, Client, tmp_path):
    texts = []
    for _ in (1, 2):
        recorder = record(serve())
        endpoint = str(recorder.endpoints[0])
        with Client(recorder.endpoints[0]) as client:
            session(client, endpoint=endpoint)
        recorder.close()
        lines = tmp_path / "x.ggrec" / "session.jsonl"
        texts.append(lines.read_text())
        assert endpoint not in texts[-1] and "[$1]#x#0" in texts[-1]
        lines.unlink()
    assert texts[0] == texts[1]


def test_a_client_sees_virtual_handles_and_a_wide_alignment(serve, record, Client):
    recorder = record(serve(), memory=1 << 30)
    with Client(recorder.endpoints[0]) as client:
        assert client.ask("GET_ALIGNMENT", device=0)["alignment"] == ALIGNMENT
        assert client.ask("GET_DEVICE_MEMORY", device=0) == {
            "free_mem": 1 << 30,
            "total_mem": 1 << 30,
        }
        assert client.alloc(100) == (1, 1 << 36)
        assert client.alloc(100) == (2, 2 << 36)
        assert client.ask("ALLOC_BUFFER", device=0, size=1 << 60)["remote_ptr"] == 0
        assert client.alloc(100) == (3, 3 << 36)


def test_connections_one_after_another_are_in_their_order(serve, record, Client, tmp_path):
    recorder = record(serve())
    for _ in range(20):
        with Client(recorder.endpoints[0]) as client:
            client.ask("DEVICE_COUNT")
    recorder.close()
    order = [
        (e.conn, type(e)) for e in events_of(tmp_path / "x.ggrec") if not isinstance(e, Message)
    ]
    assert order == [(c, kind) for c in range(1, 21) for kind in (Open, Close)]


def test_clients_at_once_are_all_recorded(serve, record, session, Client, tmp_path):
    recorder = record(serve())
    barrier = threading.Barrier(4)

    def run():
        with Client(recorder.endpoints[0]) as client:
            barrier.wait()
            session(client)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert recorder.close()[1] == 4
    assert len({tuple(names(tmp_path / "x.ggrec", conn)) for conn in range(1, 5)}) == 1


def test_two_servers_are_one_recording(serve, record, session, Client, tmp_path):
    recorder = record(serve(), serve())
    with Client(recorder.endpoints[0]) as one, Client(recorder.endpoints[1]) as two:
        assert one.alloc(10)[0] == 1
        assert two.alloc(10)[0] == 2
    recorder.close()
    with Recording(tmp_path / "x.ggrec") as recording:
        assert recording.head.servers == 2
        opened = [e.server for _, _, e in recording.events() if isinstance(e, Open)]
    assert sorted(opened) == [1, 2]


def test_stopping_ends_connections_and_the_file(serve, record, Client, tmp_path):
    recorder = record(serve())
    with Client(recorder.endpoints[0]) as client:
        client.ask("DEVICE_COUNT")
        recorder.close()
        assert client.sock.recv(1) == b""
    assert events_of(tmp_path / "x.ggrec")[-1] == Close(1, "recorder")


def test_a_taken_port_is_an_error(serve, record):
    recorder = record(serve())
    with pytest.raises(OSError, match=str(recorder.endpoints[0])):
        Recorder(recorder.capture._path, [Route(recorder.endpoints[0], recorder.endpoints[0])])
