"""The device: contract, plans, caches in place, ids, stops, host stages, memory."""

from __future__ import annotations

import ggmlrpc_metal
import numpy as np
import pytest
from ggmlrpc_metal.buffer import array_bytes
from ggmlrpc_metal.device import MAX_PLANS, MetalDevice
from ggmlrpc_metal.lower import _Trace
from ggmlrpc_metal.stage import TracedRun
from small import never, simple, values

from ggmlrpc_core.device import Device
from ggmlrpc_core.errors import (
    OutOfBounds,
    OutOfDeviceMemory,
    UnsupportedOp,
)
from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, Graph, Tensor
from ggmlrpc_core.testing.cases import all_cases, nmse
from ggmlrpc_core.testing.check_device import check_device
from ggmlrpc_core.testing.decode import Shape, decode_graph
from ggmlrpc_core.testing.inputs import Inputs
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import CaseFailed, run_case, run_twice, write


def test_contract_without_op_cases(gpu):
    report = check_device(lambda: MetalDevice(gpu=gpu), cases=())
    assert report.n_checks > 25


@pytest.mark.slow
def test_every_op_case(gpu):
    report = check_device(lambda: MetalDevice(gpu=gpu))
    assert report.n_cases == len(all_cases())
    assert report.host_stages == {"GET_ROWS_BACK", "OPT_STEP_ADAMW", "OPT_STEP_SGD"}


@pytest.mark.slow
def test_the_same_graph_twice_gives_equal_bits(device):
    failures = []
    for name, case in all_cases().items():
        try:
            run_twice(case, device)
        except CaseFailed as exc:
            failures.append(f"{name}: {exc}")
    assert not failures, "\n".join(failures)


def test_it_is_a_device(device, gpu):
    assert isinstance(device, Device)
    assert (device.name, device.accelerator) == (("Metal", True) if gpu else ("MLX-CPU", False))
    assert not device.host_memory
    free, total = device.memory()
    assert 0 < free <= total
    assert device.description


def test_hooks_open_what_they_are_asked_for(gpu):
    assert ggmlrpc_metal.ggmlrpc_open_device("CPU", None) is None
    opened = ggmlrpc_metal.ggmlrpc_open_device("Metal" if gpu else "MLX-CPU", None)
    assert isinstance(opened, MetalDevice)
    opened.close()


def test_memory_beyond_what_is_free_is_refused(device):
    _, total = device.memory()
    for size in (total + 1, device.max_size + 1, 1 << 62):
        with pytest.raises(OutOfDeviceMemory, match="expected at most"):
            device.alloc(size)


def test_equal_graphs_share_a_plan_and_old_ones_are_forgotten(device):
    graph, _, _ = simple(device)
    made = device.prepare(graph)
    assert device.prepare(graph) is made
    for _ in range(MAX_PLANS):
        device.prepare(simple(device)[0])
    assert device.prepare(graph) is not made


def test_large_plans_push_others_out(device, monkeypatch):
    monkeypatch.setattr("ggmlrpc_metal.device.MAX_PLANNED", 1)
    graph, _, _ = simple(device)
    made = device.prepare(graph)
    assert device.prepare(graph) is made, "one plan is kept, however large"
    device.prepare(simple(device)[0])
    assert device.prepare(graph) is not made


def decode(device: MetalDevice) -> tuple[Inputs, object, object]:
    b = Inputs(1)
    made = decode_graph(b, Shape())
    weights = [t for t, _ in b.data if t not in (*made.caches, made.pos, made.rows, made.tokens)]
    for group in (weights, made.caches, made.outputs):
        allocate(group, device)
    for tensor, data in b.data:
        write(tensor.buffer, tensor.offset, data)
    return b, made, device.prepare(b.graph(*made.outputs))


def step(made, plan, at: int) -> np.ndarray:
    write(made.tokens.buffer, made.tokens.offset, np.int32(7 * at % 96).tobytes())
    write(made.pos.buffer, made.pos.offset, np.int32(at).tobytes())
    write(made.rows.buffer, made.rows.offset, np.int64(at).tobytes())
    write(
        made.mask.buffer, made.mask.offset, np.where(np.arange(64) <= at, 0, -np.inf).astype("f2")
    )
    plan.run(never)
    return values(made.outputs[-1])


def test_caches_are_updated_in_place(device):
    _, made, plan = decode(device)
    assert len(plan.stages) == 1
    step(made, plan, 0)

    def addresses() -> list[int]:
        found = [segment.array for segment in made.caches[0].buffer.segments]
        return [array_bytes(array).ctypes.data for array in found]

    before = addresses()
    assert len(before) == len(made.caches)
    for at in range(1, 6):
        step(made, plan, at)
    assert addresses() == before


def test_decoding_gives_what_the_reference_gives(device):
    _, made, plan = decode(device)
    _, other, reference = decode(ReferenceDevice())
    for at in range(5):
        if at == 3:  # a part of a cache is written between two tokens
            for cache in (made.caches[1], other.caches[1]):
                write(cache.buffer, cache.offset + 70, np.full(64, 0x38, np.uint8))
        assert nmse(step(made, plan, at), step(other, reference, at)) < 1e-4
    for ours, theirs in zip(made.caches, other.caches):
        assert nmse(values(ours, "f2"), values(theirs, "f2")) < 1e-4


def test_ids_that_nodes_compute_are_checked(device):
    """Rows are chosen by what ARGSORT gives; a table with fewer rows must not be left."""
    for n_rows, error in ((8, None), (7, "id is 7, expected in \\[0, 7\\)")):
        b = Inputs(3)
        order = b.argsort(b.rand("F32", 8))
        out = b.get_rows(b.rand("F32", 16, n_rows), b.reshape(order, 8))
        allocate([out], device)
        for tensor, data in b.data:
            write(tensor.buffer, tensor.offset, data)
        plan = device.prepare(b.graph(out))
        assert [type(stage) for stage in plan.stages] == [TracedRun]
        if error is None:
            plan.run(never)
            assert np.isfinite(values(out)).all()
        else:
            with pytest.raises(OutOfBounds, match=error):
                plan.run(never)


@pytest.mark.parametrize("name", ["MUL_MAT/Q4_0 k=256 m=17 n=4", "GET_ROWS/Q8_0"])
def test_tensors_with_too_many_items_for_a_dimension_are_read_as_words(device, monkeypatch, name):
    for module in ("layout", "place"):
        monkeypatch.setattr(f"ggmlrpc_metal.{module}.LONGEST", 300)
    words = []
    taken = _Trace._from_words
    monkeypatch.setattr(
        _Trace, "_from_words", lambda self, *args: words.append(1) or taken(self, *args)
    )
    run_case(all_cases()[name], device)
    assert words


def test_host_stages_are_told_once(device, caplog):
    case = all_cases()["GET_ROWS_BACK/F32"]
    for _ in range(2):
        run_twice(case, device)
    assert [record.getMessage() for record in caplog.records] == [
        f"{device.name}: GET_ROWS_BACK runs on the host: its order of additions depends on ids "
        "[1 nodes of a graph]"
    ]


def test_an_op_that_nobody_computes_is_refused(device):
    graph, x, _ = simple(device)
    node = Tensor(99, x.type, x.ne, x.nb, op="CUSTOM", flags=FLAG_COMPUTE, src=(x,))
    assert not device.supports(node)
    with pytest.raises(UnsupportedOp):
        device.prepare(Graph([*graph.nodes, node], b"other"))
