"""A prepared graph: traced once, stopped between stages, cut where a stage is too long."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_metal.device import MAX_PLANS
from ggmlrpc_metal.plan import TracedStage
from small import never, simple, values

from ggmlrpc_core.errors import BufferNotFound, GraphStopped
from ggmlrpc_core.testing.run_case import write


def test_a_plan_of_a_freed_buffer_does_not_run(device):
    graph, x, _ = simple(device)
    made = device.prepare(graph)
    for _ in range(MAX_PLANS):
        device.prepare(simple(device)[0])
    x.buffer.free()
    with pytest.raises(BufferNotFound, match="a buffer of the graph is freed"):
        made.run(never)


def test_a_graph_is_traced_once_whatever_lies_in_its_buffers(device):
    graph, x, out = simple(device)
    made = device.prepare(graph)
    (stage,) = made.stages
    traces = []
    function = stage._function
    stage._compiled = device._mx.compile(lambda *a: traces.append(1) or function(*a))
    for value in (1.0, 2.0, 3.0):
        made.run(never)
        write(x.buffer, x.offset, np.full(8, value, np.float32))
        write(out.buffer, out.offset + 4, np.zeros(1, np.float32))
        made.run(never)
        assert values(out).tolist() == [3 * value] * 8
    assert traces == [1]


def test_a_run_that_should_stop_computes_nothing(device):
    graph, _, out = simple(device)
    with pytest.raises(GraphStopped):
        device.prepare(graph).run(lambda: True)
    assert not values(out).any()


def test_long_graphs_ask_between_slices(device, monkeypatch):
    monkeypatch.setattr("ggmlrpc_metal.plan.SLICE_SECONDS", 0.0)
    graph, _, out = simple(device)
    answers = iter([False, True])
    with pytest.raises(GraphStopped):
        device.prepare(graph).run(lambda: next(answers))
    assert not values(out).any()


def test_a_stage_that_is_often_too_long_is_cut(device, monkeypatch):
    monkeypatch.setattr("ggmlrpc_metal.executable.TOO_LONG", -1.0)
    graph, _, out = simple(device)
    made = device.prepare(graph)
    for n_stages in (1, 1, 2, 2, 2, 2):
        made.run(never)
        assert len(made.stages) == n_stages
    assert all(isinstance(one.stage, TracedStage) for one in made.stages)
    assert values(out).tolist() == [3.0 * i for i in range(8)]


def test_what_mlx_refuses_to_build_is_left_to_the_host(device, caplog, mlx_may_refuse):
    graph, _, out = simple(device)
    made = device.prepare(graph)
    refused = device._mx.compile(lambda inputs: device._mx.zeros((2, 3)).reshape(7))
    made.stages[0]._compiled = refused
    for _ in range(2):
        made.run(never)
        assert values(out).tolist() == [3.0 * i for i in range(8)]
    assert len(made.stages) == 2
    assert [record.getMessage().partition(": MLX says")[0] for record in caplog.records] == [
        f"{device.name}: SCALE runs on the host",
        f"{device.name}: ADD runs on the host",
    ]
