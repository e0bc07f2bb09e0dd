"""`ggmlrpc cache`: what its subcommands print, and their exit codes."""

import pytest

from ggmlrpc_core.cli.main import main
from ggmlrpc_core.ggml.fnv import fnv1a_64

NAME = f"{fnv1a_64(b'data'):016x}"


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / NAME).write_bytes(b"data")

    def go(*words):
        with pytest.raises(SystemExit) as ended:
            main(["cache", *words, "-c", str(tmp_path)])
        printed = capsys.readouterr()
        return ended.value.code, printed.out.splitlines(), printed.err

    return go


def test_ls(run, tmp_path):
    code, lines, _ = run("ls")
    assert code == 0
    assert lines[1].split() == [NAME, "4", "B", "now", "-"]
    assert lines[2] == f"1 files, 4 B in {tmp_path}"


def test_verify_tells_by_the_exit_code(run, tmp_path):
    assert run("verify")[:2] == (0, ["1 files, 0 wrong"])
    (tmp_path / NAME).write_bytes(b"date")
    assert run("verify")[:2] == (
        1,
        [f"{NAME} holds other bytes than its name says, 4 B", "1 files, 1 wrong"],
    )
    assert run("verify", "--remove")[1][-1] == "1 files, 1 wrong, removed"
    assert run("ls")[1][-1] == f"0 files, 0 B in {tmp_path}"


def test_prune_wants_a_bound(run):
    code, _, error = run("prune")
    assert code == 2
    assert error == (
        "ggmlrpc: nothing to prune by, expected --max-size or --max-age (see: ggmlrpc cache prune --help)\n"
    )


def test_prune_by_size_and_age(run):
    assert run("prune", "--max-age", "1h")[1] == ["removed 0 of 1 files, 0 B"]
    assert run("prune", "--max-size", "3")[1] == ["removed 1 of 1 files, 4 B"]


def test_an_age_has_a_unit(run):
    assert "'30' is not an age such as 12h or 30d" in run("prune", "--max-age", "30")[2]


def test_seed_of_what_is_no_model(run, tmp_path):
    code, _, error = run("seed", str(tmp_path / NAME))
    assert code == 2
    assert error.startswith("ggmlrpc: cache seed: ") and "expected a GGUF file" in error
