"""The group of subcommands: help, exit codes, error lines."""

import subprocess
import sys

import pytest

from ggmlrpc_core.cli import main
from ggmlrpc_core.cli.main import COMMANDS, _sentence


def run(capsys, *words):
    """(exit code, stdout, stderr) of a command line."""
    with pytest.raises(SystemExit) as info:
        main(words)
    captured = capsys.readouterr()
    return info.value.code, captured.out, captured.err


def test_help_names_every_command(capsys):
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for name, line in COMMANDS.items():
        assert f"  {name}" in out and line in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_help_of_the_table(capsys, name):
    code, out, _ = run(capsys, name, "-h")
    assert code == 0
    assert COMMANDS[name] in " ".join(out.split())


def test_no_command_prints_help(capsys):
    code, out, err = run(capsys)
    assert code == 2
    assert "Commands:" in out + err


def test_version(capsys):
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("ggmlrpc 0.")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nonsense"], "ggmlrpc: No such command 'nonsense' (see: ggmlrpc --help)"),
        (["serve", "--nope"], "ggmlrpc: No such option '--nope' (see: ggmlrpc serve --help)"),
        (
            ["serve", "-p", "70000"],
            "ggmlrpc: Invalid value for '-p' / '--port': 70000 is not in the range 0<=x<=65535"
            " (see: ggmlrpc serve --help)",
        ),
        (
            ["serve", "--max-memory", "big"],
            "ggmlrpc: Invalid value for '--max-memory': 'big' is not a size such as 512M or 16G"
            " (see: ggmlrpc serve --help)",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_2(capsys, words, line):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.splitlines() == [line]


def test_what_fails_is_one_line_and_1(capsys):
    code, _, err = run(capsys, "serve", "-H", "203.0.113.1", "-p", "5", "-d", "NOPE")
    assert code == 1
    assert len(err.splitlines()) == 1


def test_an_error_of_the_system_has_no_number():
    assert _sentence(OSError(98, "127.0.0.1:5: Address already in use")) == (
        "127.0.0.1:5: Address already in use"
    )
    assert _sentence(FileNotFoundError(2, "No such file", "x")) == "x: No such file"


def test_a_name_that_does_not_exist_is_wrong_usage(capsys):
    code, _, err = run(capsys, "serve", "-H", "127.0.0.1", "--dialect", "0.0.9", "-p", "0")
    assert code == 2
    assert err.startswith("ggmlrpc: dialect: name is '0.0.9', expected one of ")
    assert len(err.splitlines()) == 1


def test_debug_adds_the_traceback(capsys):
    code, _, err = run(capsys, "--debug", "serve", "--dialect", "0.0.9", "-p", "0")
    assert code == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("ggmlrpc: dialect: ")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "try:\n"
        "    from ggmlrpc_core.cli import main; main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'numpy', 'construct', 'pluggy', 'rich', 'gguf'} & set(sys.modules)\n"
        "    sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "ggmlrpc_core.cli", "--version"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ggmlrpc ")
