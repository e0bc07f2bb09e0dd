"""No byte of a model or a prompt is left, and the recording still replays."""

import numpy as np
import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.ggml.fnv import fnv1a_64
from ggmlrpc_core.recording.data import in_line
from ggmlrpc_core.recording.file import Head, Recording
from ggmlrpc_core.recording.messages import Message
from ggmlrpc_core.recording.player import replay
from ggmlrpc_core.recording.scrub import scrub, token_places
from ggmlrpc_core.recording.transform import new_recording
from ggmlrpc_core.wire.dialects import dialect

SECRET = np.frombuffer(
    b"the secret weights of somebody's model, 64 bytes of them or more" * 4, "<f4"
)


def messages(path, command):
    with Recording(path) as recording:
        found = [
            e for _, _, e in recording.events() if isinstance(e, Message) and e.command == command
        ]
        return [(e, e.data.whole(recording.container) if e.data else b"") for e in found]


def everything(path):
    return b"".join(p.read_bytes() for p in path.rglob("*") if p.is_file())


@pytest.fixture
def secret(serve, record, Client, session, tmp_path):
    recorder = record(serve(), about={"note": "my host"})
    with Client(recorder.endpoints[0]) as client:
        session(client, weights=SECRET.tobytes())
    recorder.close()
    return tmp_path / "x.ggrec"


def test_weights_names_notes_and_answers_are_gone(secret, serve, tmp_path):
    done = scrub(secret, tmp_path / "y.ggrec")
    assert done.replaced == 3 and done.opaque == 0
    assert b"w.weight" in everything(secret)
    left = everything(tmp_path / "y.ggrec")
    for gone in (b"w.weight", b"my host", b"expect", SECRET.tobytes()[:8].hex().encode()):
        assert gone not in left
    with Recording(tmp_path / "y.ggrec") as recording:
        assert recording.head.privacy == "scrubbed"
        report = replay(recording, [serve()])
    assert report.ok and report.to_dict()["data"]["compared"] == 0
    before, after = (messages(p, "SET_TENSOR") for p in (secret, tmp_path / "y.ggrec"))
    assert [len(data) for _, data in before] == [len(data) for _, data in after]
    assert after[0][1] != before[0][1]


def test_names_may_stay(secret, tmp_path):
    scrub(secret, tmp_path / "y.ggrec", keep_names=True)
    assert b"w.weight" in everything(tmp_path / "y.ggrec")


def test_twice_is_refused(secret, tmp_path):
    scrub(secret, tmp_path / "y.zip")
    with pytest.raises(RecordingError, match="a recording that is not yet"):
        scrub(tmp_path / "y.zip", tmp_path / "z.ggrec")


def test_tokens_change_within_their_range_and_masks_and_places_stay(
    serve, record, Client, tensor, tmp_path
):
    recorder = record(serve())
    with Client(recorder.endpoints[0]) as client:
        handle, base = client.alloc(8192)
        table = tensor(handle, base, 4, 50, id=1, name="tok_embd")
        tokens = tensor(handle, base + 1024, 40, id=2, type="I32", name="inp_tokens")
        rows = tensor(handle, base + 2048, 4, 40, id=3, op="GET_ROWS", src=(1, 2))
        mask = tensor(handle, base + 4096, 40, id=4, type="F16", name="mask")
        places = tensor(handle, base + 6144, 40, id=5, type="I32", name="inp_pos")
        prompt = (np.arange(40) * 7 % 50).astype("<i4")
        hidden = np.where(np.arange(40) < 9, 0, -np.inf).astype("<f2").tobytes()
        for t, data in (
            (table, bytes(800)),
            (tokens, prompt.tobytes()),
            (mask, hidden),
            (places, prompt.tobytes()),
        ):
            client.tell("SET_TENSOR", data, tensor=t, offset=0)
        client.tell("GRAPH_COMPUTE", device=0, nodes=[3], tensors=[table, tokens, rows])
        client.get(rows, 640)
    recorder.close()
    with Recording(tmp_path / "x.ggrec") as recording:
        assert token_places(recording) == {(1, (1 << 36) + 1024)}
    done = scrub(tmp_path / "x.ggrec", tmp_path / "y.ggrec")
    data = [data for _, data in messages(tmp_path / "y.ggrec", "SET_TENSOR")]
    other = np.frombuffer(data[1], "<i4")
    assert not np.array_equal(other, prompt)
    assert other.min() >= 0 and other.max() <= prompt.max()
    assert data[2] == hidden and data[3] == prompt.tobytes() and data[0] == bytes(800)
    assert (done.replaced, done.kept) == (1, 3)


def test_hashes_are_those_of_the_other_data(record, liar, Client, tensor, tmp_path):
    answers = [b"\1", b"\0"]
    recorder = record(
        liar(lambda name, reply: answers.pop() if name == "SET_TENSOR_HASH" else reply)
    )
    with Client(recorder.endpoints[0]) as client:
        for k in (1, 2):
            handle, base = client.alloc(4000)
            t, data = (
                tensor(handle, base, 1000, id=k, name="w"),
                np.arange(1000, dtype="<f4").tobytes(),
            )
            if (
                client.ask("SET_TENSOR_HASH", tensor=t, offset=0, hash=fnv1a_64(data))["result"]
                == 0
            ):
                client.tell("SET_TENSOR", data, tensor=t, offset=0)
    recorder.close()
    scrub(tmp_path / "x.ggrec", tmp_path / "y.ggrec")
    ((_, upload),) = messages(tmp_path / "y.ggrec", "SET_TENSOR")
    (miss, _), (hit, _) = messages(tmp_path / "y.ggrec", "SET_TENSOR_HASH")
    expected = fnv1a_64(upload).to_bytes(8, "little")
    assert miss.payload[-8:] == hit.payload[-8:] == expected
    assert hit.known.whole(None) == upload


def test_bytes_without_a_schema_become_zeros(tmp_path):
    secret = in_line(b"secret words" * 20)
    with new_recording(tmp_path / "x.ggrec", Head(dialect("7.0.0"))) as file:
        for line in ({"c": 1, "open": 1}, {"c": 1, "raw": secret.to_line()}):
            file.write_line(line)
    assert scrub(tmp_path / "x.ggrec", tmp_path / "y.ggrec").opaque == 1
    with Recording(tmp_path / "y.ggrec") as recording:
        (_, (_, line)) = recording.lines()
    assert line["raw"] == {"n": 240, "fill": 0}
