"""The walker and its threads: every record runs, in order, with barriers; errors end the run."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_cpu.device import CpuDevice
from ggmlrpc_cpu.threads import default_threads

from ggmlrpc_core.errors import OutOfBounds
from ggmlrpc_core.graph.build import GraphBuilder, allocate


def never() -> bool:
    return False


@pytest.mark.parametrize("solo_cost", [0.0, 1e12], ids=["shared", "solo"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_chain_is_computed_in_order(monkeypatch, n_threads, solo_cost):
    monkeypatch.setattr("ggmlrpc_cpu.plan.SOLO_COST", solo_cost)
    device = CpuDevice(n_threads, compile_mode="now")
    b = GraphBuilder()
    x = b.new_tensor("F32", 4096, 7, name="x")
    out = x
    for i in range(60):
        out = b.scale(out, 1.0 if i % 2 else -1.0, bias=float(i))
    allocate([out], device)
    made = device.prepare(b.graph(out))
    expected = np.float32(0)
    for i in range(60):
        expected = expected * (1 if i % 2 else -1) + i
    for _ in range(5):
        made.run(never)
        got = out.buffer.memory[out.offset : out.offset + out.nbytes].view(np.float32)
        assert (got == expected).all()
        got[:] = 0
    device.close()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_error_ends_the_run_and_the_next_one_works(monkeypatch, n_threads):
    monkeypatch.setattr("ggmlrpc_cpu.plan.SOLO_COST", 0.0)
    device = CpuDevice(n_threads, compile_mode="now")
    b = GraphBuilder()
    table, ids = b.new_tensor("F32", 16, 4), b.new_tensor("I32", 64, name="ids")
    out = b.get_rows(table, ids)
    for _ in range(30):
        out = b.scale(out, 1.0, bias=1.0)
    allocate([out], device)
    made = device.prepare(b.graph(out))
    chosen = ids.buffer.memory[ids.offset : ids.offset + 256].view(np.int32)
    got = out.buffer.memory[out.offset : out.offset + out.nbytes].view(np.float32)
    for _ in range(3):
        chosen[63] = 4
        with pytest.raises(OutOfBounds, match=r"id is 4, expected in \[0, 4\)"):
            made.run(never)
        assert not got.any()
        chosen[63] = 3
        made.run(never)
        assert (got == 30).all()
        got[:] = 0
    device.close()


def test_default_is_at_least_one_thread():
    assert default_threads() >= 1
