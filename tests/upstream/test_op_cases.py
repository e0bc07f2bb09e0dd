"""Every op case on a server, against the reference ops.

On the stock server (`--server stock`) this judges the reference ops, the graph builder and the client; on ours the
devices too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from upstream.build_stock import Stock
from upstream.servers import Server

from ggmlrpc_core.client import RemoteDevice, rpc_init
from ggmlrpc_core.errors import GgmlRpcError
from ggmlrpc_core.testing import CaseFailed, all_cases, run_remote_case

TIMEOUT = 60.0
MAX_RESTARTS = 10


class Running:
    """A server that is started again when a case ended it."""

    def __init__(self, kind: str, stock: Stock, devices: tuple[str, ...]) -> None:
        self._kind, self._stock, self._devices = kind, stock, devices
        self.start()

    def start(self) -> None:
        """Start a server and connect."""
        self.server = Server(self._kind, stock=self._stock, devices=self._devices)
        self.device: RemoteDevice = rpc_init(self.server.endpoint, timeout=TIMEOUT)

    def stop(self) -> None:
        """Disconnect and end it."""
        self.device.close()
        self.server.stop()


@pytest.fixture(params=["stock", "ours"])
def running(
    request: pytest.FixtureRequest, stock: Stock, server_kind: str, devices: tuple[str, ...]
) -> Iterator[Running]:
    """The stock server, and the one under test."""
    theirs = request.param == "stock"
    started = Running("stock" if theirs else server_kind, stock, () if theirs else devices)
    yield started
    started.stop()


def test_all_cases_agree_with_the_reference(running: Running) -> None:
    """All failures together: one line each."""
    failures = []
    restarts = 0
    for case in all_cases().values():
        try:
            run_remote_case(case, running.device)
        except (CaseFailed, GgmlRpcError) as exc:
            failures.append(f"{case.name}: {exc}")
        if running.device.connection.closed and restarts < MAX_RESTARTS:
            restarts += 1
            running.stop()
            running.start()
    assert not failures, "\n".join(failures)
