import json
import threading

import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording import capture as module
from ggmlrpc_core.recording.capture import Capture, Options
from ggmlrpc_core.recording.generate import generated_weight
from ggmlrpc_core.recording.messages import Close, Open
from ggmlrpc_core.recording.tensors import NoEndpoints
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import dialect

D = dialect("7.0.0")


@pytest.fixture
def make(tmp_path):
    def begin(**options):
        return Capture(tmp_path / "x", Options(**options), endpoints=NoEndpoints())

    return begin


def test_events_are_written_in_their_order(make, tmp_path):
    capture = make(dialect=D)
    for conn in range(1, 50):
        capture.event(Open(conn))
        capture.event(Close(conn, "client"))
    assert capture.next_connection() == 1
    assert capture.close() == (98, 1)
    lines = [json.loads(line) for line in (tmp_path / "x/session.jsonl").read_text().splitlines()]
    assert [line["c"] for line in lines[1:-1]] == [c for c in range(1, 50) for _ in (1, 2)]


def test_nobody_said_anything(make, tmp_path):
    capture = make()
    capture.event(Open(1))
    assert capture.close() == (0, 0)
    assert list((tmp_path / "x").iterdir()) == []


def test_two_servers_speak_the_same_version(make):
    capture = make()
    capture.learn(D)
    capture.learn(D)
    with pytest.raises(RecordingError, match=r"expected 7.0.0, of the recording"):
        capture.learn(dialect("5.1.0"))
    capture.close()


def test_a_failure_of_the_writer_reaches_whoever_goes_on(make):
    capture = make(dialect=D)

    def fail():
        raise OSError(28, "No space left on device")

    capture.work(fail, 0)
    capture._thread.join()
    with pytest.raises(RecordingError, match="No space left on device, expected written"):
        capture.event(Open(1))
    with pytest.raises(RecordingError, match="No space left"):
        capture.close()


def test_a_client_waits_while_too_much_is_unwritten(make, monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD", 10)
    capture, gate, done = make(dialect=D), threading.Event(), threading.Event()
    capture.work(gate.wait, 11)

    def more():
        capture.work(lambda: None, 1)
        done.set()

    thread = threading.Thread(target=more)
    thread.start()
    assert not done.wait(0.05)
    gate.set()
    thread.join(10)
    assert done.is_set()
    capture.close()


def test_weights_of_the_seed_are_guessed_by_name(make, tensor):
    capture = make(dialect=D, weights="7")
    expected = generated_weight("7", "blk.0.w", ggml_type="Q4_0", ne0=256)
    assert capture.guess(tensor(1, 0, 256, type="Q4_0", name="blk.0.w")) == expected
    capture.close()


def test_floats_that_a_graph_wrote_are_computed(make, tensor):
    capture = make(dialect=D)
    out = tensor(3, 0, 4, op="SQR", src=(1,), id=2)
    ids = tensor(3, 0, 4, type="I32")
    payload = codec.encode_request(
        D, D.by_name["GRAPH_COMPUTE"], {"nodes": [2], "tensors": [tensor(4, 0, 4), out]}
    )
    assert capture.tolerance(out) == "exact"
    capture.computes(D, D.by_name["GRAPH_COMPUTE"], payload)
    assert [capture.tolerance(t) for t in (out, ids, tensor(4, 0, 4))] == [
        "computed",
        "exact",
        "exact",
    ]
    capture.copies(3, 4)
    capture.copies(9, 5)
    assert capture.tolerance(tensor(4, 0, 4)) == "computed"
    assert capture.tolerance(tensor(5, 0, 4)) == "exact"
    capture.close()
