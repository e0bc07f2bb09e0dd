"""A clause is MUST only where a recorded real client depends on it: its commands are in recordings of its dialects."""

import json
import zipfile
from importlib import resources

import pytest
from ggmlrpc_conformance.clauses import clauses

from ggmlrpc_core.wire.commands import COMMANDS
from ggmlrpc_core.wire.dialects import dialect

SESSIONS = resources.files("ggmlrpc_conformance").joinpath("sessions")


@pytest.fixture(scope="module")
def recorded():
    """Commands that stock clients were recorded to send, by protocol version."""
    found: dict[tuple[int, ...], set[str]] = {}
    for folder in SESSIONS.iterdir():
        commands = found.setdefault(dialect(folder.name).version, set())
        for file in folder.iterdir():
            with file.open("rb") as raw, zipfile.ZipFile(raw) as archive:
                for line in archive.read("session.jsonl").decode().splitlines():
                    commands.add(json.loads(line).get("cmd"))
    return found


def test_every_command_was_recorded(recorded):
    assert set().union(*recorded.values()) - {None} == set(COMMANDS)


@pytest.mark.parametrize(
    "clause", [c for c in clauses().values() if c.level == "MUST"], ids=lambda c: c.id
)
def test_a_must_is_about_what_clients_were_recorded_to_do(clause, recorded):
    inside = [commands for version, commands in recorded.items() if clause.applies_to(version)]
    assert any(set(clause.commands) <= commands for commands in inside)
