"""Plans: read once, dropped with their buffers."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph, RemoteProtocolError
from ggmlrpc_core.server import graphs as module
from ggmlrpc_core.server.buffers import BufferTable
from ggmlrpc_core.server.graphs import GraphStore
from ggmlrpc_core.server.schedule import ServedDevice
from ggmlrpc_core.server.worker import DeviceWorker
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.tensors import to_wire


@pytest.fixture
def box(add_graph):
    worker = DeviceWorker("N", lambda: NullDevice("N"))

    class Box:
        device = worker.device
        table = BufferTable()
        store = GraphStore(
            [ServedDevice(worker)], table, dialect_of=lambda *message: dialects.newest()
        )

        def buffer(self):
            return self.table.add(0, self.device.alloc(256), size=256, alignment=32, charged=256)

        def compute(self, owned, change=lambda graph: None):
            graph = add_graph(owned.handle, owned.bound.base)
            change(graph)
            nodes = np.array(graph["nodes"], np.uint64)
            return self.store.compute(0, nodes, to_wire(dialects.newest(), graph["tensors"]))

    yield Box()
    worker.stop()


def test_an_equal_message_is_not_read_again(box, monkeypatch):
    owned = box.buffer()
    plan = box.compute(owned)
    monkeypatch.setattr(module, "parse_graph", lambda *args, **kwargs: pytest.fail("read again"))
    assert box.compute(owned) is plan is box.store.recompute(0)
    assert (plan.handles, plan.touches) == ({owned.handle}, {0})


def test_equal_content_under_other_names_keeps_its_plan(box):
    owned = box.buffer()

    def rename(graph):
        graph["tensors"] = [t._replace(name=b"other") for t in graph["tensors"]]

    assert box.compute(owned, rename) is box.compute(owned)


def test_a_plan_is_prepared_once_and_runs_often(box):
    plan = box.compute(box.buffer())
    for _ in range(3):
        plan.run(box.device, lambda: False)
    assert len(box.device.ran) == 3
    assert len(set(map(id, box.device.ran))) == 1


def test_only_the_last_few_are_kept(box, monkeypatch):
    monkeypatch.setattr(module, "PLANS_KEPT", 2)
    owned = [box.buffer() for _ in range(3)]
    plans = [box.compute(one) for one in owned]
    assert box.compute(owned[1]) is plans[1]
    assert box.compute(owned[2]) is plans[2]
    assert box.compute(owned[0]) is not plans[0]


def test_large_plans_push_others_out(box, monkeypatch):
    monkeypatch.setattr(module, "TENSORS_KEPT", 7)  # two plans of three tensors
    owned = [box.buffer() for _ in range(3)]
    plans = [box.compute(one) for one in owned]
    assert box.compute(owned[1]) is plans[1]
    assert box.compute(owned[2]) is plans[2]
    assert box.compute(owned[0]) is not plans[0]
    monkeypatch.setattr(module, "TENSORS_KEPT", 1)
    plan = box.compute(box.buffer())
    assert box.store.recompute(0) is plan


def test_a_plan_weighs_until_it_is_prepared(box):
    plan = box.compute(box.buffer())
    assert plan.weight == plan.n_tensors == 3
    plan.run(box.device, lambda: False)
    assert plan.weight == 0


def test_forget_drops_what_names_the_buffer(box):
    first, second = box.buffer(), box.buffer()
    plan = box.compute(first)
    box.store.forget(second.handle)
    assert box.store.recompute(0) is plan
    box.store.forget(first.handle)
    with pytest.raises(RemoteProtocolError) as info:
        box.store.recompute(0)
    assert str(info.value) == (
        "GRAPH_RECOMPUTE: stored graph of device 0 is none, expected one that GRAPH_COMPUTE left"
        " and whose buffers live"
    )
    assert box.compute(first) is not plan


def test_messages_with_the_same_bytes_and_another_border_differ(box):
    """37 ids and one tensor are as long as two tensors."""
    owned = box.buffer()
    plan = box.compute(owned)
    other = np.zeros(2, to_wire(dialects.newest(), []).dtype)
    empty = box.store.compute(0, np.zeros(0, np.uint64), other)
    assert empty is not plan
    with pytest.raises(BadGraph):
        ids = np.frombuffer(other.tobytes()[:296], np.uint64)
        box.store.compute(0, ids, other[1:])


def test_a_graph_of_too_much_work_is_refused(box):
    box.store = GraphStore(
        box.store._devices, box.table, dialect_of=lambda *message: dialects.newest(), most_work=1.0
    )
    with pytest.raises(BadGraph, match=r"work of the graph is .* operations, expected at most 1 "):
        box.compute(box.buffer())
