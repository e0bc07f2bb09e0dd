"""The command as a process of its own: what a user sees, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from ggmlrpc_core.client import rpc_init


@pytest.fixture
def recorder(reference_server, tmp_path):
    """`ggmlrpc record` in a child; gives (process, endpoint, path)."""
    path = tmp_path / "r.ggrec"
    words = [
        "record",
        "--listen",
        "127.0.0.1:0",
        "--target",
        str(reference_server),
        "-o",
        str(path),
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "ggmlrpc_core.cli", *words, "--note", "a test"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    line = child.stdout.readline()
    yield child, line.split(" at ")[1].partition(";")[0], path
    child.kill()
    child.communicate()


def test_a_session_is_recorded_until_ctrl_c(recorder, squared):
    child, endpoint, path = recorder
    with rpc_init(endpoint) as device:
        assert np.array_equal(squared(device), np.arange(8, dtype=np.float32) ** 2)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    head, *_, end = (json.loads(line) for line in (path / "session.jsonl").read_text().splitlines())
    assert head["about"]["note"] == "a test" and head["privacy"] == "unscrubbed"
    assert out.strip() == f"{path}: {end['end']['events']} events on 1 connections"


def test_nobody_came(recorder):
    child, _, path = recorder
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err.strip()) == (0, "no client said anything, nothing was written")
    assert not (path / "session.jsonl").exists()


def test_a_recording_is_not_written_over(run, recording):
    code, _, err = run("record", "--target", "127.0.0.1:1", "-o", recording)
    assert code == 1
    assert "a recording, expected a new one, or another name" in err


def test_pairs(run, tmp_path):
    code, _, err = run("record", "--target", "h:1", "--target", "h:2", "-o", tmp_path / "x")
    assert code == 2 and "1 --listen for 2 --target, expected pairs" in err
