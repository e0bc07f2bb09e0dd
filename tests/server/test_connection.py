"""The end of a connection: what is told, once, and to whom."""

from ggmlrpc_core.errors import OutOfBounds
from ggmlrpc_core.server import connection, session
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.null import NullDevice


def test_a_bug_of_the_server_costs_one_client(start, peer, log, monkeypatch):
    server = start()
    one, two = peer(server), peer(server)
    monkeypatch.setitem(session._COMMANDS, "GET_MAX_SIZE", lambda session, request: 1 // 0)
    one.tell("GET_MAX_SIZE", device=0)
    assert one.is_closed()
    assert two.ask("DEVICE_COUNT") == {"device_count": 1}
    (line,) = log
    assert line.endswith("closed: ZeroDivisionError: integer division or modulo by zero")


def test_several_faults_are_one_line(start, peer, add_graph, log):
    device = ChaosDevice(NullDevice("NULL0"))
    one = peer(start(device))
    graph = add_graph(*one.alloc(256))
    device.go.clear()
    device.fail_run = OutOfBounds("GET_ROWS", "row id", 99, "below 4")
    one.tell("GRAPH_COMPUTE", device=0, **graph)
    assert device.running.wait(20)
    one.tell("GRAPH_RECOMPUTE", device=0)
    one.tell("GET_TENSOR", tensor=graph["tensors"][2], offset=0, size=64)
    one.send(b"\xff")
    device.go.set()
    assert one.is_closed()
    assert [line.split("closed: ")[1] for line in log] == [
        "GET_ROWS: row id is 99, expected below 4"
    ]


def test_a_session_that_cannot_be_closed_still_frees_the_socket(start, peer, log, monkeypatch):
    server = start()
    one = peer(server)
    real = session.Session.close

    def close(self):
        real(self)
        raise RuntimeError("while closing")

    monkeypatch.setattr(session.Session, "close", close)
    one.close()
    server.close()  # waits for the connection
    (line,) = log
    assert line.endswith("not closed cleanly: RuntimeError: while closing")


def test_a_long_upload_shows_its_progress(start, peer, tensor, log, monkeypatch):
    monkeypatch.setattr(connection, "PROGRESS_BYTES", 1000)
    one = peer(start())
    handle, base = one.alloc(4096)
    for _ in range(5):
        one.tell("SET_TENSOR", bytes(400), tensor=tensor(handle, base, 100), offset=0)
    one.ask("DEVICE_COUNT")
    assert [line.split("] ")[1] for line in log.all if "uploaded" in line] == ["has uploaded 0 GiB"]
