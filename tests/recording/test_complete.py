import numpy as np
import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.complete import complete
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.messages import Message
from ggmlrpc_core.recording.player import replay
from ggmlrpc_core.recording.scrub import scrub


def answers(path):
    with Recording(path) as recording:
        return [
            (e.answer.whole(recording.container), e.tolerance)
            for _, _, e in recording.events()
            if isinstance(e, Message) and e.answer is not None
        ]


def test_a_scrubbed_recording_gets_answers_that_a_replay_judges(recorded, serve, liar, tmp_path):
    path = recorded()
    scrub(path, tmp_path / "y.ggrec")
    assert answers(tmp_path / "y.ggrec") == []
    assert complete(tmp_path / "y.ggrec", tmp_path / "z.zip", [serve()]) == 3
    found = answers(tmp_path / "z.zip")
    assert [tolerance for _, tolerance in found] == ["computed"] * 3
    assert not np.array_equal(found[0][0], answers(path)[0][0])
    with Recording(tmp_path / "z.zip") as recording:
        assert replay(recording, [serve()]).to_dict()["data"] == {"compared": 3, "equal": 3}
        zeros = liar(lambda name, reply: bytes(len(reply)) if name == "GET_TENSOR" else reply)
        assert len(replay(recording, [zeros]).faults) == 3


def test_what_is_expected_stays_unless_all_is_asked(recorded, serve, liar, tmp_path):
    path = recorded()
    assert complete(path, tmp_path / "a", [serve()]) == 0
    assert answers(tmp_path / "a") == answers(path)
    zeros = liar(lambda name, reply: bytes(len(reply)) if name == "GET_TENSOR" else reply)
    assert complete(path, tmp_path / "b", [zeros], replace_all=True) == 3
    assert {data for data, _ in answers(tmp_path / "b")} == {bytes(256)}


def test_a_reference_that_fails_writes_nothing(recorded, liar, tmp_path):
    path = recorded()
    closes = liar(lambda name, reply: None if name == "GET_TENSOR" else reply)
    for replace_all in (True, False):
        with pytest.raises(RecordingError, match=r"x\.ggrec line .*closed by the server"):
            complete(path, tmp_path / "y", [closes], replace_all=replace_all)
    assert not (tmp_path / "y").exists()
