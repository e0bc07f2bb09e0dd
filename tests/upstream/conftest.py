"""Fixtures of the tests with the stock llama.cpp client; collected only when a stock build is named.

    pytest tests/upstream --stock FOLDER        FOLDER from build_stock.py, or GGMLRPC_STOCK in the environment

`--server stock` runs the same tests against the stock server, to check the tests themselves. `--serve-device NAME` has
our server open another device than the one that it takes by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # makes `upstream` importable

from upstream.build_stock import Stock, find
from upstream.models import Quantizer
from upstream.session import Figures, Models, References, Servers
from upstream.stock import StockClient


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this folder."""
    parser.addoption("--stock", help="folder made by tests/upstream/build_stock.py")
    parser.addoption("--server", choices=("ggmlrpc", "stock"), default="ggmlrpc")
    parser.addoption("--serve-device", default="", help="of our server, as for ggmlrpc serve -d")
    parser.addoption("--figures", help="file for the measured accuracy, JSON")


def stock_folder(config: pytest.Config) -> str | None:
    """The folder that was named, None without one."""
    return config.getoption("--stock", default=None) or os.environ.get("GGMLRPC_STOCK")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out of a run that has no stock build."""
    return True if stock_folder(config) is None else None


@pytest.fixture(scope="session")
def stock(pytestconfig: pytest.Config) -> Stock:
    """The stock build."""
    folder = stock_folder(pytestconfig)
    assert folder is not None
    found = find(Path(folder))
    if found is None:
        pytest.fail(
            f"{folder}: no complete build there; run tests/upstream/build_stock.py {folder}"
        )
    return found


@pytest.fixture(scope="session")
def server_kind(pytestconfig: pytest.Config) -> str:
    """Which server is tested, "ggmlrpc" or "stock"."""
    return str(pytestconfig.getoption("--server", default="ggmlrpc"))


@pytest.fixture(scope="session")
def devices(pytestconfig: pytest.Config, server_kind: str) -> tuple[str, ...]:
    """What is given to the tested server's -d; empty for what it takes by itself."""
    name = str(pytestconfig.getoption("--serve-device", default=""))
    return (name,) if name and server_kind != "stock" else ()


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config, stock: Stock, server_kind: str) -> Iterator[Figures]:
    """The collector of measured values."""
    collected = Figures(server_kind, stock)
    yield collected
    path = pytestconfig.getoption("--figures", default=None)
    if path:
        collected.write(Path(path))


@pytest.fixture(scope="session")
def servers(stock: Stock, server_kind: str, devices: tuple[str, ...]) -> Iterator[Servers]:
    """Servers shared by all tests of the session."""
    running = Servers(server_kind, stock, devices)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def quantize(stock: Stock) -> Quantizer:
    """The stock encoder of weights."""
    return Quantizer(stock.library("ggml-base"))


@pytest.fixture(scope="session")
def shared_clients(stock: Stock) -> Iterator[list[StockClient]]:
    """Clients that `client` started."""
    started: list[StockClient] = []
    yield started
    for client in started:
        client.close()


@pytest.fixture
def client(stock: Stock, shared_clients: list[StockClient]) -> StockClient:
    """A stock client; one for the whole session, replaced when a test made it die."""
    if not shared_clients or shared_clients[-1].process.poll() is not None:
        shared_clients.append(StockClient(stock))
    return shared_clients[-1]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, quantize: Quantizer) -> Models:
    """Writes the models of this session."""
    return Models(tmp_path_factory.mktemp("models"), quantize)


@pytest.fixture(scope="session")
def references(stock: Stock, models: Models) -> Iterator[References]:
    """Local results of the stock client."""
    known = References(stock, models)
    yield known
    known.close()
