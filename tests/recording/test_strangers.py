"""A recording of a stranger: whatever is in it, reading ends in a RecordingError or in nothing worse than nonsense."""

import json
import random
import zipfile
from pathlib import Path

import pytest

from ggmlrpc_core.errors import RecordingError
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.scrub import token_places
from ggmlrpc_core.recording.show import Filter, shown

FOLDER = Path(__file__).parents[2] / "conformance/src/ggmlrpc_conformance/sessions"
FILES = (
    "7.0.0/training",
    "7.0.0/killed-loading",
    "7.0.0/greedy-f32",
    "2.0.0@2025-08-14/greedy-f32",
)
NUMBERS = [0, 1, -1, 1 << 31, 1 << 53, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63), 1.5, True]
TEXTS = ["", "x", "0x10", "0xffffffffffffffff", "F32", "MUL_MAT", "UNARY/SILU"]
OTHERS = [None, [], [1, 2], [1] * 20, {}, {"ptr": 5}, {"n": 5, "fill": 1}, {"n": 3, "z": "AAAA"}]
VALUES = [*NUMBERS, *TEXTS, *OTHERS, {"n": 1, "b": "0" * 32}, {"n": 1 << 39, "fill": 1}]
KEYS = ["id", "buf", "at", "op", "name", "params", "src", "tensor", "data", "rsp", "graph", "like"]
KEYS += ["payload", "raw", "of", "length", "tol", "expect", "c", "cmd"]


def mutate(value, rng):
    """Change one thing somewhere inside."""
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not places:
        return
    place = rng.choice(places)
    if isinstance(value[place], dict | list) and rng.random() < 0.6:
        mutate(value[place], rng)
    elif isinstance(value, dict) and rng.random() < 0.2:
        del value[place]
    elif isinstance(value, dict) and rng.random() < 0.2:
        value[rng.choice(KEYS)] = rng.choice(VALUES)
    else:
        value[place] = rng.choice(VALUES)


def hostile(lines, rng):
    """The lines with a few changes."""
    lines = [line for line in lines if not line.startswith('{"end"')]
    for _ in range(rng.choice([1, 2, 5])):
        at = rng.randrange(len(lines))
        if rng.random() < 0.7:
            line = json.loads(lines[at])
            mutate(line, rng)
            lines[at] = json.dumps(line)
        else:
            lines[at] = lines[rng.randrange(len(lines))]
    at = rng.randrange(len(lines))
    if rng.random() < 0.2:
        lines[at] = lines[at].replace(rng.choice(lines[at]), chr(rng.randrange(32, 300)))
    return "\n".join(lines) + "\n"


def read_all(folder):
    with Recording(folder) as recording:
        n = sum(1 for _ in shown(recording, Filter(graphs=True, n_values=3)))
        token_places(recording)
    return n


def check(tmp_path, name, seeds):
    refused = 0
    archive = zipfile.ZipFile(FOLDER / f"{name}.ggrec.zip")
    with archive:
        lines = archive.read("session.jsonl").decode().splitlines()
    for seed in seeds:
        text = hostile(list(lines), random.Random(f"{name}{seed}"))
        (tmp_path / "session.jsonl").write_text(text, encoding="utf-8")
        try:
            read_all(tmp_path)
        except RecordingError as exc:
            refused += 1
            assert ", expected " in str(exc)
    assert refused > len(seeds) // 3


@pytest.mark.parametrize("name", FILES[:2])
def test_changed_lines_are_refused_or_read(tmp_path, name):
    check(tmp_path, name, range(5))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_changed_lines_are_refused_or_read(tmp_path, name):
    check(tmp_path, name, range(1000, 1400))
