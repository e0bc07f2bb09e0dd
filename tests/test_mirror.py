"""A test file per source file, and none without one."""

from pathlib import Path

ROOT = Path(__file__).parent.parent

TESTED_ELSEWHERE = {
    "device": "protocols without code; held by testing/test_check_device.py",
    "engine/events": "values without code; held by engine/test_connection.py",
    "engine/limits": "a value without code; held by engine/test_connection.py",
    "server/services": "values without code; held by server/test_session.py",
    "testing/cases_model": "a table; held by testing/test_cases.py",
    "testing/cases_rare": "a table; held by testing/test_cases.py",
    "wire/schema": "a table; held by wire/test_commands.py and wire/test_layout.py",
}
OTHER_TREES = ("conformance", "hostile", "interop", "upstream")
"""Tests of other distributions and of other programs."""

OF_SEVERAL_FILES = {
    "client/example": "the example of the package's docstring",
    "client/outcomes": "clients of every version with servers of every version",
    "mirror": "this file",
    "ops/safety": "every op under hostile changes",
    "ops/properties": "every op against a second evaluation",
    "recording/strangers": "recordings with hostile changes",
    "recording/sessions": "recorded sessions of stock clients on our server",
    "server/hostile": "the server under hostile input",
    "wire/vectors": "wire/vectors/__init__.py and its data",
}


def sources():
    core = ROOT / "ggmlrpc_core"
    found = (p.relative_to(core).with_suffix("").as_posix() for p in core.rglob("*.py"))
    return {name for name in found if not name.endswith(("__init__", "__main__"))}


def files_tested():
    here = ROOT / "tests"
    found = (p.relative_to(here) for p in here.rglob("test_*.py"))
    return {
        (p.parent / p.stem.removeprefix("test_")).as_posix()
        for p in found
        if p.parts[0] not in OTHER_TREES
    }


def test_every_source_file_has_its_test_file():
    assert sources() - files_tested() == set(TESTED_ELSEWHERE)


def test_every_test_file_has_its_source_file():
    strangers = {t for t in files_tested() - sources() if not t.startswith("ops/properties")}
    assert strangers == set(OF_SEVERAL_FILES) - {"ops/properties"}
