"""The pytest form of run.py; collected only when a folder of built peers is named.

    pytest tests/interop --peers FOLDER --peer VERSION        FOLDER from build_peers.py, or GGMLRPC_PEERS, GGMLRPC_PEER

Without a version, every peer that is built there is run.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OF_PEERS = {HERE / "test_interop.py"}
"""What needs a build; the rest tests the tools here and always runs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this folder."""
    parser.addoption("--peers", help="folder made by tests/interop/build_peers.py")
    parser.addoption("--peer", help="only this release")


def peers_folder(config: pytest.Config) -> Path | None:
    """The folder that was named, None without one."""
    named = config.getoption("--peers", default=None) or os.environ.get("GGMLRPC_PEERS")
    return Path(named) if named else None


def peer_version(config: pytest.Config) -> str | None:
    """The release that was named, None for all that are built."""
    return config.getoption("--peer", default=None) or os.environ.get("GGMLRPC_PEER")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests with peers out of a run that has none."""
    return True if collection_path in OF_PEERS and peers_folder(config) is None else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One set of tests for each peer."""
    if "built" not in metafunc.fixturenames:
        return
    from interop.build_peers import find_peer
    from interop.peers import PEERS, peer

    folder, version = peers_folder(metafunc.config), peer_version(metafunc.config)
    assert folder is not None
    wanted = [peer(version)] if version else list(PEERS)
    found = [built for one in wanted if (built := find_peer(folder, one)) is not None]
    if version and not found:
        pytest.fail(f"{folder}: {version} is not built; run tests/interop/build_peers.py")
    metafunc.parametrize("built", found, ids=lambda b: b.peer.version, scope="module")
