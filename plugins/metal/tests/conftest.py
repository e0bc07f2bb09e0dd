"""What the tests of the Metal plugin share: MLX's CPU backend as a device, and a plain model of its bytes.

Without MLX nothing here is collected.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from emulation.metal import EmulatedMetal, RealMetal
    from ggmlrpc_metal.device import MetalDevice

MISSING = [name for name in ("ggmlrpc_metal", "mlx") if find_spec(name) is None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this folder."""
    parser.addoption(
        "--gpu", action="store_true", help="test the Apple GPU instead of MLX's CPU backend"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out where what it tests is not installed."""
    return True if MISSING else None


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say why nothing is collected."""
    return f"plugins/metal: not tested, {' and '.join(MISSING)} not installed" if MISSING else None


@pytest.fixture(scope="session")
def gpu(pytestconfig: pytest.Config) -> bool:
    """Whether the Apple GPU is tested."""
    return bool(pytestconfig.getoption("--gpu", default=False))


@pytest.fixture
def mlx_may_refuse() -> None:
    """For a test in which MLX refuses to build a stage."""


@pytest.fixture(autouse=True)
def nothing_is_refused(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """A stage that MLX refuses is left to the host: right for a user, and a mistake in a test."""
    caplog.set_level(logging.INFO, "ggmlrpc.metal")
    yield
    if "mlx_may_refuse" not in request.fixturenames:
        said = [record.getMessage() for record in caplog.get_records("call")]
        assert not [line for line in said if "MLX says" in line]


@pytest.fixture
def device(gpu: bool) -> Iterator[MetalDevice]:
    """The device under test."""
    from ggmlrpc_metal.device import MetalDevice

    made = MetalDevice(gpu=gpu)
    yield made
    made.close()


@pytest.fixture(scope="session")
def metal(
    gpu: bool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmulatedMetal | RealMetal]:
    """What runs Metal kernels: the GPU that is tested, else clang and fibers."""
    from emulation.metal import EmulatedMetal, RealMetal, find_clang

    if gpu:
        yield RealMetal()
        return
    if sys.platform == "darwin":
        pytest.skip("Metal kernels are tested on the GPU of a Mac: --gpu")
    clang = find_clang()
    if clang is None:
        pytest.skip("no clang, which Metal kernels are compiled with here: pip install ziglang")
    yield EmulatedMetal(clang, tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def kernels_run(metal: EmulatedMetal | RealMetal) -> Iterator[EmulatedMetal | RealMetal]:
    """In place of mx.fast.metal_kernel what runs on this machine."""
    import mlx.core as mx
    from ggmlrpc_metal.kernels import build

    build.kernel_of.cache_clear()
    build.scan_of.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mx.fast, "metal_kernel", metal.metal_kernel)
        yield metal
    build.kernel_of.cache_clear()
    build.scan_of.cache_clear()
