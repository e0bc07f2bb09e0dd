"""The pytest plugin: options, one item per case, dialect and device, results from all workers, exit code.

Loaded in every pytest run of an environment that has the suite, so nothing heavy is imported until a target is named.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ggmlrpc_conformance.session import Plan

PACKAGE = Path(__file__).parent
ENTRY = PACKAGE / "cases" / "numbers.csv"
"""The file whose collection yields every item: one, so that all are in one fixed order."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the suite."""
    group = parser.getgroup("ggmlrpc-conformance", "conformance of a ggml RPC server")
    add = group.addoption
    add("--target", metavar="HOST:PORT", help="server under test, which runs already")
    add("--targets", metavar="A,B,...", help="several of them, one after the other, in one report")
    add(
        "--target-cmd",
        metavar="COMMAND",
        help="start a server per worker, such as 'ggml-rpc-server -p {port}'; {dialect} is filled too",
    )
    add(
        "--dialect",
        metavar="NAMES",
        help="dialects to speak, comma-separated; default: the one that HELLO announces",
    )
    add("--device", metavar="N", help="index of the device, or 'all'; default 0")
    add("--tier", choices=("smoke", "default", "full"), default="default", help="how much to run")
    add(
        "--case",
        action="append",
        metavar="ID",
        help="only cases with this id or number; * stands for anything; repeatable",
    )
    add(
        "--destructive",
        action="store_true",
        help="run cases that may end a weak server on one that the suite did not start",
    )
    add(
        "--reference",
        metavar="HOST:PORT",
        help="take expected results of ops from this server instead of the reference ops",
    )
    add(
        "--known",
        metavar="FILE",
        action="append",
        help="known deviations: a file, or the name of a list of the suite",
    )
    add("--timeout-factor", type=float, default=1.0, metavar="X", help="multiply all timeouts")
    add("--report", metavar="FOLDER", help="write results.jsonl and the reports into this folder")


def wanted(config: pytest.Config) -> bool:
    """A target was named, or the suite's own files are to be collected."""
    return any(config.getoption(name) for name in ("--target", "--targets", "--target-cmd"))


def pytest_configure(config: pytest.Config) -> None:
    """Register the part that runs, when there is something to run."""
    if wanted(config):
        from ggmlrpc_conformance.session import Plan

        config.pluginmanager.register(Plan(config), "ggmlrpc-conformance-session")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """All items come from one file of the package."""
    if file_path != ENTRY and not (file_path.name == ENTRY.name and file_path.samefile(ENTRY)):
        return None
    from ggmlrpc_conformance.items import CaseFile

    plan: Plan | None = parent.config.pluginmanager.get_plugin("ggmlrpc-conformance-session")
    return CaseFile.from_parent(parent, path=file_path, plan=plan)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run cases on nothing."""
    # A usage error inside a collector would be one error among others.
    if "ggmlrpc_conformance.items" in sys.modules:
        from ggmlrpc_conformance.items import NO_TARGET

        if session.config.stash.get(NO_TARGET, False):
            raise pytest.UsageError(
                "no server is named, expected --target HOST:PORT, --target-cmd or --targets"
            )


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Of the suite's own folder nothing but cases is collected."""
    if collection_path.suffix == ".py" and PACKAGE in collection_path.parents:
        return True
    return None
