"""From graphs to stages."""

from __future__ import annotations

import pytest
from ggmlrpc_metal import plan
from ggmlrpc_metal.plan import HostStage, Planner, TracedStage, host_nodes

from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import FLAG_OUTPUT
from ggmlrpc_core.testing.host import HostDevice


def planned(build):
    """(planner, graph) of what `build` returns."""
    b = GraphBuilder()
    out = build(b)
    allocate([out], HostDevice())
    graph = b.graph(out)
    return Planner(graph, (), gpu=False), graph


def chain(b: GraphBuilder, n: int = 4):
    x = b.new_tensor("F32", 8)
    for _ in range(n):
        x = b.scale(x, 2.0)
    return x


def shapes(stages) -> list[object]:
    return [
        stage.node.op if isinstance(stage, HostStage) else (stage.first, stage.last)
        for stage in stages
    ]


def with_host_node(b: GraphBuilder):
    rows = b.get_rows_back(chain(b, 2), b.new_tensor("I32", 1), b.new_tensor("F32", 8, 4))
    return b.scale(rows, 2.0)


def test_host_nodes_stand_between_stages():
    planner, _ = planned(with_host_node)
    stages = planner.stages()
    assert shapes(stages) == [(0, 2), "GET_ROWS_BACK", (3, 4)]
    told = [stage for stage in stages if isinstance(stage, HostStage)] * 2
    assert host_nodes(told) == {("GET_ROWS_BACK", "its order of additions depends on ids"): 2}


def test_slices_are_cut_by_estimate(monkeypatch):
    monkeypatch.setattr(plan, "SLICE_SECONDS", 2.5 * 4.1e-6)
    planner, _ = planned(chain)
    assert shapes(planner.stages()) == [(0, 2), (2, 4)]


def test_halves():
    planner, _ = planned(lambda b: chain(b, 5))
    (stage,) = planner.stages()
    halves = planner.halves(stage)
    assert shapes(halves) == [(0, 2), (2, 4), (4, 5)]
    assert planner.halves(halves[2]) == [halves[2]]


def kept(graph, *, planner: Planner, end: int) -> list[int]:
    keeps = planner._keeper(end)
    return [i for i, node in enumerate(graph.work) if keeps(node)]


def test_results_that_only_nodes_of_the_stage_read_are_not_kept():
    planner, graph = planned(chain)
    assert kept(graph, planner=planner, end=4) == [3]
    assert kept(graph, planner=planner, end=2) == [1, 2, 3], "a later stage reads node 1"


@pytest.mark.parametrize("change", ["output", "no count", "reader elsewhere"])
def test_results_that_others_may_read_are_kept(change):
    b = GraphBuilder()
    out = chain(b)
    allocate([out], HostDevice())
    graph = b.graph(out)
    node = graph.work[1]
    if change == "output":
        node.flags |= FLAG_OUTPUT
    else:
        node.use_count = {"no count": 0, "reader elsewhere": 2}[change]
    assert kept(graph, planner=Planner(graph, (), gpu=False), end=4) == [1, 3]


def test_results_that_a_view_names_are_kept():
    planner, graph = planned(lambda b: b.scale(b.reshape(chain(b, 2), 4, 2), 2.0))
    assert kept(graph, planner=planner, end=3) == [1, 2]


def test_a_cast_names_itself_and_is_kept():
    planner, graph = planned(lambda b: b.cast(chain(b, 1), "F16"))
    assert kept(graph, planner=planner, end=2) == [1]
    assert isinstance(planner.stages()[0], TracedStage)
