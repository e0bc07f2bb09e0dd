import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.file import Head, Recording
from ggmlrpc_core.recording.transform import adopt, new_recording
from ggmlrpc_core.wire.dialects import dialect

HEAD = Head(dialect("7.0.0"))


@pytest.mark.parametrize("name", ["y.ggrec", "y.zip"])
def test_a_new_recording_is_there_when_it_is_whole(tmp_path, name):
    with new_recording(tmp_path / name, HEAD) as file:
        file.write_line({"c": 1, "open": 1})
        assert not (tmp_path / name).exists()
    with Recording(tmp_path / name) as recording:
        assert [line for _, line in recording.lines()] == [{"c": 1, "open": 1}]
        assert recording.complete
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), new_recording(tmp_path / "y", HEAD):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "y").mkdir()
    with pytest.raises(RecordingError, match="there already"), new_recording(tmp_path / "y", HEAD):
        pass


def test_blobs_come_along(tmp_path):
    data = bytes(range(256)) * 7001
    with new_recording(tmp_path / "a.zip", HEAD) as file:
        stored = file.store(data)
        assert stored.blob
        file.write_line({"data": stored.to_line(), "rsp": {}})
    with Recording(tmp_path / "a.zip") as source, new_recording(tmp_path / "b", HEAD) as file:
        for _, line in source.lines():
            adopt(line, source, file)
            file.write_line(line)
    with Recording(tmp_path / "b") as copy:
        assert stored.whole(copy.container) == data
