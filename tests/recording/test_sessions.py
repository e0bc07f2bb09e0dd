"""Recorded sessions of stock clients, replayed on our server with the reference ops.

The files are those of the conformance suite; tests/sessions/record.py makes them. A few run in a bare pytest, all of
them with `-m slow`.
"""

from pathlib import Path

import pytest

from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.messages import Close, Message
from ggmlrpc_core.recording.player import replay
from ggmlrpc_core.wire.dialects import dialect_names

FOLDER = Path(__file__).parents[2] / "conformance/src/ggmlrpc_conformance/sessions"
FILES = sorted(FOLDER.glob("*/*.ggrec.zip"))
QUICK = ("7.0.0/greedy-f32", "7.0.0/training", "7.0.0/embeddings", "7.0.0/killed-loading")
MAX_FILE, MAX_ALL = 200_000, 5_000_000


def name_of(path):
    return f"{path.parent.name}/{path.name.removesuffix('.ggrec.zip')}"


def is_quick(path):
    name = name_of(path)
    return name in QUICK or name.endswith("/greedy-f32")


def parameters():
    for path in FILES:
        marks = [] if is_quick(path) else [pytest.mark.slow]
        yield pytest.param(path, id=name_of(path), marks=marks)


@pytest.mark.parametrize("path", list(parameters()))
def test_a_client_of_every_version_is_served(path, serve):
    with Recording(path) as recording:
        name = recording.head.dialect.name
        if name not in dialect_names():
            pytest.skip(f"{name} is not spoken")
        devices = 2 if "devices-two" in path.name else 1
        targets = [
            serve(name, devices=devices, memory=1 << 30) for _ in range(recording.head.servers)
        ]
        report = replay(recording, targets)
    assert report.ok and report.complete, report.text()
    compared = report.to_dict()["data"]["compared"]
    assert compared > 0 or path.name.startswith("killed")


def test_every_session_of_the_newest_version_is_there():
    words = {name_of(p).split("/")[1].split("-")[0] for p in FILES if p.parent.name == "7.0.0"}
    assert words >= {
        "greedy", "perplexity", "sequences", "moe", "kv", "embeddings", "cache", "devices", "servers", "killed",
        "recompute", "training", "contexts",
    }  # fmt: skip
    assert {"greedy-f32", "greedy-f32-plain"} <= {p.name.split(".")[0] for p in FILES}


def test_they_are_small_and_hold_nobodys_weights():
    assert sum(p.stat().st_size for p in FILES) < MAX_ALL
    for path in FILES:
        assert path.stat().st_size < MAX_FILE
        with Recording(path) as recording:
            assert recording.head.privacy == "synthetic"


def commands(name):
    with Recording(FOLDER / f"{name}.ggrec.zip") as recording:
        return [e for _, _, e in recording.events() if isinstance(e, Message | Close)]


def test_they_show_what_their_names_say():
    assert (
        sum(getattr(e, "command", "") == "GRAPH_RECOMPUTE" for e in commands("7.0.0/recompute"))
        > 10
    )
    hashes = [
        e.reply
        for e in commands("7.0.0/cache-miss-hit")
        if getattr(e, "command", "") == "SET_TENSOR_HASH"
    ]
    assert hashes == [b"\0"] * 3 + [b"\1"] * 3
    *_, upload, end = commands("7.0.0/killed-loading")
    assert upload.length is not None and end == Close(upload.conn, "client")
