"""Recorded sessions of the stock client replay on the stock server they came from, and on ours with its CPU device."""

from __future__ import annotations

from pathlib import Path

import pytest
from upstream.build_stock import Stock
from upstream.servers import Server

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.recording.file import Recording
from ggmlrpc_core.recording.player import replay

FOLDER = Path(__file__).parents[2] / "conformance/src/ggmlrpc_conformance/sessions/7.0.0"
FILES = sorted(FOLDER.glob("*.ggrec.zip"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name.removesuffix(".ggrec.zip"))
def test_a_recorded_session_replays(path: Path, stock: Stock, server_kind: str) -> None:
    devices = ("CPU", "CPU") if path.name.startswith("devices-two") else ()
    with Recording(path) as recording:
        servers = [
            Server(server_kind, stock=stock, threads=1, devices=devices)
            for _ in range(recording.head.servers)
        ]
        try:
            targets = [Endpoint.parse(server.endpoint) for server in servers]
            report = replay(recording, targets, timeout=300.0)
        finally:
            for server in servers:
                server.stop()
    assert report.ok and report.complete, report.text()
    assert len(FILES) >= 19
