import json

import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.data import in_line
from ggmlrpc_core.recording.file import Head, LinesFile, Recording, RecordingWriter
from ggmlrpc_core.recording.messages import Close, Open, Raw
from ggmlrpc_core.wire.dialects import dialect

EVENTS = [Open(1), Raw(1, in_line(b"x")), Close(1, "client")]


@pytest.fixture
def path(tmp_path):
    writer = RecordingWriter(tmp_path / "x.ggrec", Head(dialect("2.0.0"), about={"note": "n"}))
    for event in EVENTS:
        writer.write(event)
    writer.close()
    return tmp_path / "x.ggrec"


def text(path):
    return (path / "session.jsonl").read_text()


def events(path):
    with Recording(path) as recording:
        found = [event for _, _, event in recording.events()]
        return found, recording.complete


def test_head_events_and_end_come_back(path):
    with Recording(path) as recording:
        assert recording.head == Head(dialect("2.0.0"), about={"note": "n"})
    assert events(path) == (EVENTS, True)


def test_a_dated_dialect_keeps_its_date(tmp_path):
    d = dialect("2.0.0@2025-08-05")
    LinesFile(tmp_path / "x", Head(d)).close()
    with Recording(tmp_path / "x") as recording:
        assert recording.head.dialect is d


def test_a_file_without_an_end_is_read_to_its_last_whole_line(path):
    lines = text(path).splitlines(keepends=True)
    (path / "session.jsonl").write_text("".join(lines[:3]) + lines[3][:9])
    assert events(path) == (EVENTS[:2], False)


def test_a_changed_line_does_not_fit_the_end(path):
    (path / "session.jsonl").write_text(text(path).replace('"78"', '"79"'))
    with pytest.raises(RecordingError, match=r"x.ggrec line 5: blake2b is"):
        events(path)


def test_nothing_after_the_end_counts(path):
    with (path / "session.jsonl").open("a") as out:
        out.write("garbage\n")
    assert events(path) == (EVENTS, True)


def test_a_recording_is_never_written_over(path):
    with pytest.raises(RecordingError, match="a recording, expected a new one"):
        LinesFile(path, Head(dialect("2.0.0")))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"ggrec": 2}, "ggrec is 2, expected version 1"),
        ({"dialect": "9.9.9"}, "dialect is"),
        ({"servers": 0}, "servers is 0"),
        ({"tol": {"x": 1}}, "tol is"),
        ({"privacy": "none"}, "privacy is"),
        ({"about": {"a": 1}}, "about is"),
        ({"more": 1}, "field is more"),
    ],
)
def test_a_bad_head_is_refused(path, change, what):
    head, _, rest = text(path).partition("\n")
    (path / "session.jsonl").write_text(json.dumps(json.loads(head) | change) + "\n" + rest)
    with pytest.raises(RecordingError, match=r"x.ggrec line 1: ") as caught:
        Recording(path)
    assert what in str(caught.value)


def test_lines_inside_a_graph_are_short(path):
    tensor = {"id": 1, "type": "F32", "ne": [1], "name": "x" * 3000}
    with (path / "session.jsonl").open("w") as out:
        for line in (Head(dialect("2.0.0")).to_line(), {"graph": 1, "tensors": 1}, tensor):
            out.write(json.dumps(line) + "\n")
    with pytest.raises(RecordingError, match="at most 2048 bytes inside a graph"):
        events(path)
