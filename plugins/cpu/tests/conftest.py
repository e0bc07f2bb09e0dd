"""What the tests of the CPU plugin share: devices that compile at once, and comparison with the reference ops."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from ggmlrpc_cpu.device import CpuDevice
from ggmlrpc_cpu.plan import HostStage

import ggmlrpc_core.ops  # declares the reference ops
from ggmlrpc_core import quants
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.graph.views import raw_view
from ggmlrpc_core.ops.run import run_node

assert ggmlrpc_core.ops


def view(tensor: Tensor) -> np.ndarray:
    """The raw array of a tensor in its CpuBuffer."""
    return raw_view(tensor, tensor.buffer.memory)


def fill(tensor: Tensor, rng: np.random.Generator) -> None:
    """Random numbers of a plain type, or the encoding of random numbers."""
    raw = view(tensor)
    name = tensor.type.name
    if name in ("I32", "I64"):
        return
    values = rng.standard_normal(tensor.shape).astype(np.float32)
    raw[...] = quants.from_f32(np, values, tensor.type)


def all_tensors(graph: Graph) -> list[Tensor]:
    """Nodes and what they read, each once."""
    found: dict[int, Tensor] = {}
    stack = list(graph.nodes)
    while stack:
        t = stack.pop()
        if id(t) not in found:
            found[id(t)] = t
            stack += [s for s in t.src if s is not None]
    return list(found.values())


class Comparison:
    """Runs a graph on a device and node by node with the reference ops.

    Attributes:
        records: of the last plan.
    """

    def __init__(self, device: CpuDevice) -> None:
        self.device = device
        self.rng = np.random.default_rng(7)
        self.records = 0

    def __call__(
        self,
        build: Callable[[GraphBuilder], Tensor],
        *,
        ids: dict[str, np.ndarray] | None = None,
        nmse: float = 1e-9,
        host: bool = False,
    ) -> np.ndarray:
        """Build, fill leafs with random numbers, run both ways, compare; the device's result.

        Args:
            build: returns the output tensor.
            ids: values of leafs by name.
            nmse: bound of squared error over squared size; 0 for equal bits.
            host: a node may be a host stage.
        """
        b = GraphBuilder()
        out = build(b)
        buffer = allocate([out], self.device)
        graph = b.graph(out)
        for t in all_tensors(graph):
            if t.op == "NONE" and t.view_src is None:
                if ids and t.name in ids:
                    view(t)[...] = ids[t.name]
                else:
                    fill(t, self.rng)
        before = buffer.memory.copy()
        with np.errstate(all="ignore"):
            for node in graph.work:
                run_node(np, node, view)
        expected = view(out).copy()
        buffer.memory[:] = before
        made = self.device.prepare(graph)
        if not host:
            assert not [s for s in made.plan.stages if isinstance(s, HostStage)], made.plan.missing
        self.records = len(made.plan.records)
        made.run(lambda: False)
        got = view(out).copy()
        buffer.memory[:] = before
        made.run(lambda: False)
        assert view(out).tobytes() == got.tobytes(), "the same graph twice gives the same bits"
        if nmse == 0 or got.dtype.kind != "f":
            assert np.array_equal(got, expected)
        else:
            close(got.astype(np.float64), expected.astype(np.float64), nmse)
        buffer.free()
        return got


def close(got: np.ndarray, expected: np.ndarray, nmse: float) -> None:
    """Equal where not finite, and within a normalized error elsewhere."""
    finite = np.isfinite(expected)
    assert np.array_equal(got[~finite], expected[~finite], equal_nan=True)
    error = np.square(got[finite] - expected[finite]).sum()
    size = np.square(expected[finite]).sum()
    assert error <= nmse * max(size, 1e-30), f"nmse {error / max(size, 1e-30)}"


@pytest.fixture(scope="session", params=[1, 2], ids=["1 thread", "2 threads"])
def device(request: pytest.FixtureRequest) -> Iterator[CpuDevice]:
    """A device that compiles at once."""
    made = CpuDevice(request.param, compile_mode="now")
    yield made
    made.close()


@pytest.fixture
def compare(device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Comparison with every step shared by all threads, however small."""
    monkeypatch.setattr("ggmlrpc_cpu.plan.SOLO_COST", 0.0)
    return Comparison(device)
