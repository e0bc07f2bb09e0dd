"""A stage at run time: faults of MLX, results that move between stages."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_metal.stage import TracedRun

from ggmlrpc_core.errors import DeviceLost, OutOfDeviceMemory
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.testing.run_case import read, write


def never() -> bool:
    return False


def values(tensor) -> list[float]:
    return np.frombuffer(read(tensor.buffer, tensor.offset, tensor.nbytes), np.float32).tolist()


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (RuntimeError("[malloc] Unable to allocate 12 bytes."), OutOfDeviceMemory),
        (MemoryError(), OutOfDeviceMemory),
        (RuntimeError("[METAL] Command buffer execution failed"), DeviceLost),
    ],
)
def test_what_mlx_cannot_do_ends_the_session_or_the_device(device, monkeypatch, fault, raised):
    b = GraphBuilder()
    out = b.scale(b.new_tensor("F32", 4), 2.0)
    allocate([out], device)
    plan = device.prepare(b.graph(out))
    plan.run(never)
    assert len(out.buffer.segments) == 1

    def fails(*arrays):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(device._mx, "eval", fails)
        with pytest.raises(raised):
            plan.run(never)
    assert len(out.buffer.segments) == 0, "what was let go is not shown again"
    plan.run(never)
    assert values(out) == [0] * 4


def test_stages_hand_results_on_as_arrays(device, monkeypatch):
    monkeypatch.setattr("ggmlrpc_metal.plan.SLICE_SECONDS", 0.0)
    b = GraphBuilder()
    x = b.new_tensor("F32", 4)
    middle = b.scale(x, 2.0)
    out = b.add(middle, x)
    allocate([out], device)
    write(x.buffer, x.offset, np.arange(4, dtype=np.float32))
    plan = device.prepare(b.graph(out))
    assert [type(stage) for stage in plan.stages] == [TracedRun, TracedRun]
    for _ in range(2):
        plan.run(never)
        assert values(out) == [0, 3, 6, 9]
    assert [(s.lo, s.hi) for s in out.buffer.segments] == [
        (t.offset, t.offset + 16) for t in sorted((middle, out), key=lambda t: t.offset)
    ]
    assert not out.buffer.root.bytes[middle.offset : middle.offset + 16].any()
