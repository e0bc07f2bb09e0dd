"""The schema against the table of every command in every version (ggml/data/commands.csv)."""

import re

import pytest

from ggmlrpc_core.ggml.types import read_table
from ggmlrpc_core.wire.commands import COMMANDS
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names
from ggmlrpc_core.wire.layout import Layout, Params
from ggmlrpc_core.wire.version import ERA_A, ERA_B, ERA_C, ERA_D, ERA_E, V

ERAS = {"none-A": ERA_A, "none-B": ERA_B, "none-C": ERA_C, "none-D": ERA_D, "none-E": ERA_E}
ROWS = [
    row
    for row in read_table("commands")
    if not row["version"].startswith("ik-")
    and "proposal" not in row["version"]
    and row["command"] != "NONE"
]


def version_of(text):
    return ERAS.get(text) or V(*map(int, re.match(r"\d+\.\d+\.\d+", text)[0].split(".")))


def sizes(text):
    """'305+n' -> (305, True): fixed part and whether something follows; '' -> None."""
    if text == "":
        return None
    fixed, _, rest = text.partition("+")
    return (0, True) if fixed == "n" else (int(fixed), bool(rest))


@pytest.mark.parametrize("row", ROWS, ids=[f"{r['command']}-{r['version']}" for r in ROWS])
def test_numbers_and_lengths_are_those_of_the_table(row):
    version = version_of(row["version"])
    command = COMMANDS[row["command"]]
    number = command.number.at(version)
    if row["present"] != "y":
        assert number is None
        return
    assert number == int(row["number"])
    params = Params(version=version, max_src=10, max_name=64)
    request = Layout(command.request, params)
    fixed, more = sizes(row["request_bytes"])
    # in the table the fixed part of a counted request includes the second count, 4 bytes
    assert request.size + (4 if row["command"] == "GRAPH_COMPUTE" else 0) == fixed
    assert request.complete is not more
    reply = command.reply.at(version)
    if row["response_bytes"] == "":
        assert reply is None
    else:
        layout = Layout(reply, params)
        assert (layout.size, not layout.complete) == sizes(row["response_bytes"])


def test_every_command_of_the_table_is_declared():
    assert {row["command"] for row in ROWS} == set(COMMANDS)


FORK = [
    row
    for row in read_table("commands")
    if row["version"].startswith("ik-") and row["command"] != "NONE"
]


@pytest.mark.parametrize("row", FORK, ids=[f"{r['command']}-{r['version']}" for r in FORK])
def test_the_fork_has_the_numbers_and_lengths_of_the_table(row):
    d = dialect(re.sub(r" \((\d+) sources\)", r"/\1src", row["version"]))
    wire = d.by_name.get(row["command"])
    assert (wire is not None) == (row["present"] == "y")
    if wire is None:
        return
    assert wire.number == int(row["number"])
    fixed, more = sizes(row["request_bytes"])
    assert wire.request.size + (4 if wire.counted else 0) == fixed
    assert wire.request.complete is not more
    if row["response_bytes"] == "":
        assert wire.reply is None
    else:
        assert (wire.reply.size, not wire.reply.complete) == sizes(row["response_bytes"])


@pytest.mark.parametrize("name", [*dialect_names(), *fork_names()])
def test_every_dialect_has_the_commands_of_its_version(name):
    d = dialect(name)
    for command in COMMANDS.values():
        number = command.number.at(d.version)
        assert (command.name in d.by_name) == (number is not None)
        if number is not None:
            assert d.by_number[number].name == command.name
            assert (d.by_name[command.name].reply is None) == (command.reply.at(d.version) is None)
