"""The CPU device: contract, plan cache, threads of different number, no compiler."""

from __future__ import annotations

import ggmlrpc_cpu
import numpy as np
import pytest
from ggmlrpc_cpu.device import MAX_PLANS, CpuDevice
from ggmlrpc_cpu.plan import CompiledStage, HostStage

from ggmlrpc_core.device import Device
from ggmlrpc_core.errors import BufferNotFound, GraphStopped, UnsupportedOp
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, Graph, Tensor


def never() -> bool:
    return False


def simple(device: CpuDevice, n: int = 8, factor: float = 2.0) -> tuple[Graph, Tensor, Tensor]:
    """out = x * factor + x."""
    b = GraphBuilder()
    x = b.new_tensor("F32", n, name="x")
    out = b.add(b.scale(x, factor), x)
    allocate([out], device)
    x.buffer.memory[x.offset : x.offset + 4 * n].view(np.float32)[:] = np.arange(n)
    return b.graph(out), x, out


def values(tensor: Tensor) -> np.ndarray:
    return tensor.buffer.memory[tensor.offset : tensor.offset + tensor.nbytes].view(np.float32)


@pytest.fixture
def plain() -> CpuDevice:
    return CpuDevice(1, compile_mode="off")


def test_it_is_a_device_with_the_host_s_memory(plain):
    assert isinstance(plain, Device)
    assert (plain.name, plain.accelerator, plain.host_memory) == ("CPU", False, True)
    assert plain.max_size == 2**64 - 1
    free, total = plain.memory()
    assert 0 < free <= total
    assert plain.description


def test_hooks_offer_and_open_it():
    (info,) = ggmlrpc_cpu.ggmlrpc_devices()
    assert info.name == "CPU"
    assert ggmlrpc_cpu.ggmlrpc_open_device("CUDA0", None) is None
    opened = ggmlrpc_cpu.ggmlrpc_open_device("CPU", 1)
    assert isinstance(opened, CpuDevice) and opened.n_threads == 1
    opened.close()


def test_without_a_compiler_every_node_is_a_host_stage(plain):
    graph, _, out = simple(plain)
    made = plain.prepare(graph)
    assert [type(s) for s in made.plan.stages] == [HostStage, HostStage]
    made.run(never)
    assert values(out).tolist() == [3.0 * i for i in range(8)]


def test_compiled_stages_run_the_graph(device):
    graph, x, out = simple(device)
    made = device.prepare(graph)
    assert made.plan.stages == [CompiledStage(0, 2, True)]
    made.run(never)
    assert values(out).tolist() == [3.0 * i for i in range(8)]
    values(x)[:] = 1
    made.run(never)
    assert values(out).tolist() == [3.0] * 8


def test_equal_graphs_share_a_plan_and_old_ones_are_forgotten(plain):
    graph, _, _ = simple(plain)
    made = plain.prepare(graph)
    assert plain.prepare(graph) is made
    for _ in range(MAX_PLANS):
        plain.prepare(simple(plain)[0])
    assert plain.prepare(graph) is not made


def test_large_plans_push_others_out(plain, monkeypatch):
    monkeypatch.setattr("ggmlrpc_cpu.device.MAX_PLANNED", 1)
    graph, _, _ = simple(plain)
    made = plain.prepare(graph)
    assert plain.prepare(graph) is made, "one plan is kept, however large"
    plain.prepare(simple(plain)[0])
    assert plain.prepare(graph) is not made


def test_a_freed_buffer_takes_its_plans_with_it(plain):
    graph, x, _ = simple(plain)
    made = plain.prepare(graph)
    x.buffer.free()
    with pytest.raises(BufferNotFound, match="a buffer of the graph is freed"):
        made.run(never)


def test_a_forgotten_plan_of_a_freed_buffer_does_not_run(plain):
    graph, x, _ = simple(plain)
    made = plain.prepare(graph)
    for _ in range(MAX_PLANS):
        plain.prepare(simple(plain)[0])
    x.buffer.free()
    with pytest.raises(BufferNotFound):
        made.run(never)


def test_a_run_that_should_stop_computes_nothing(device):
    graph, _, out = simple(device)
    with pytest.raises(GraphStopped):
        device.prepare(graph).run(lambda: True)
    assert not values(out).any()


def test_long_graphs_ask_between_slices(device, monkeypatch):
    monkeypatch.setattr("ggmlrpc_cpu.plan.SLICE_COST", 0.0)
    graph, _, out = simple(device)
    answers = iter([False, True])
    with pytest.raises(GraphStopped):
        device.prepare(graph).run(lambda: next(answers))
    assert not values(out).any()


def test_an_op_that_nobody_computes_is_refused(plain):
    graph, x, _ = simple(plain)
    node = Tensor(99, x.type, x.ne, x.nb, op="CUSTOM", flags=FLAG_COMPUTE, src=(x,))
    with pytest.raises(UnsupportedOp):
        plain.prepare(Graph([*graph.nodes, node], b"other"))
