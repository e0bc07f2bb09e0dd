"""`ggmlrpc dialects` as a user sees it."""

import json

import pytest

from ggmlrpc_core.cli import main
from ggmlrpc_core.wire.dialects import dialect_names, fork_names


def run(capsys, *words):
    with pytest.raises(SystemExit) as info:
        main(["dialects", *words])
    captured = capsys.readouterr()
    return info.value.code, captured.out, captured.err


def test_every_dialect_is_listed_oldest_first(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines()[1:] if line[:1] not in ("", " ")]
    every = [*dialect_names(), *fork_names()]
    assert names[: len(every)] == every


def test_a_row_tells_dates_releases_and_what_is_new(capsys):
    _, out, _ = run(capsys, "3.6.1", "6.0.0")
    lines = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["dialect", "from", "until", "spoken by", "what differs from the one before"]
    assert cells[1][:4] == ["3.6.1", "2026-03-10", "2026-04-15", "llama-cpp-python 0.3.17"]
    six = next(row for row in cells if row and row[0] == "6.0.0")
    assert six[3] == "llama.cpp, not proven"
    assert six[4] == "- FREE_BUFFER is not answered any more"


def test_a_version_lists_all_that_hides_behind_it(capsys):
    _, out, _ = run(capsys, "2.0.0", "--json")
    found = json.loads(out)
    assert len(found) == 13
    assert {one["version"] for one in found} == {"2.0.0"}
    assert found[0] == {
        "name": "2.0.0@2025-04-25",
        "version": "2.0.0",
        "first": "2025-04-25",
        "last": "2025-05-21",
        "fork": None,
        "proven": True,
        "tensor_bytes": 296,
        "hello_bytes": 0,
        "commands": found[0]["commands"],
        "ops": 82,
        "unary": 14,
        "glu": 0,
        "types": 31,
        "releases": [{"package": "llama-cpp-python", "release": "0.3.9", "date": "2025-05-08"}],
        "changes": ["SET_TENSOR is not answered any more"],
    }
    assert found[0]["commands"]["HELLO"] == 14


def test_the_fork_and_long_names(capsys):
    _, out, _ = run(capsys, "ik", "--json")
    assert [one["name"] for one in json.loads(out)] == fork_names()
    _, out, _ = run(capsys, "7.0.0/name128", "--json")
    (one,) = json.loads(out)
    assert (one["name"], one["tensor_bytes"]) == ("7.0.0/name128", 360)


def test_an_unknown_name(capsys):
    code, out, err = run(capsys, "8.0.0")
    assert (code, out) == (2, "")
    assert err.startswith("ggmlrpc: dialect: name is '8.0.0', expected one of none-A, ")
