"""Fusion leaves every result that a client may read as it is.

The one result that may stay unwritten is that of a node whose client says that one node reads it (`use_count` 1), which
is not flagged as an output, lies in no other tensor's memory, and has the next node as its only reader: a client that
asked for it would get what was there before, from the stock server too.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracle.shapes import RandomDraw

from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import FLAG_OUTPUT

GRAPHS = 40


def drawn(seed):
    """A graph around RMS_NORM and MUL: builder, outputs, the norm, its use count, whether it may be left out."""
    d, b = RandomDraw(seed), GraphBuilder()
    n, rows = d.pick(5, 16, 33), d.int(1, 4)
    x = b.new_tensor("F32", n, rows, name="x")
    weight = b.new_tensor("F32", n, d.pick(1, rows), name="w")
    inside = d.int(0, 4) == 0
    y = b.rms_norm(x, eps=1e-5, inplace=inside)
    swapped = d.int(0, 3) == 0 and weight.ne == x.ne
    a, other = (weight, y) if swapped else (y, weight)
    z = b.mul(a, other, inplace=d.int(0, 2) == 0)
    outputs = [z]
    readers = d.pick("none", "none", "view", "later", "memory")
    if readers == "view":
        outputs.append(b.cont(b.view(y, n)))
    elif readers == "later":
        outputs.append(b.scale(y, 2.0))
    elif readers == "memory":
        outputs.append(b.scale(x, 3.0))
    if d.int(0, 1):
        outputs.reverse()
    flagged = d.int(0, 4) == 0
    if flagged:
        y.flags |= FLAG_OUTPUT
    free = not (inside or flagged or readers in ("view", "later"))
    count = d.pick(None, None, 0, 1, 2)
    return b, outputs, y, count, free and count in (None, 1)


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_fusion_changes_no_readable_result(device, monkeypatch, seed):
    b, outputs, y, count, may_be_left = drawn(seed)
    buffer = allocate(outputs, device)
    graph = b.graph(*outputs)
    if count is not None:
        y.use_count = count  # what a peer says; it may be wrong
    before = np.random.default_rng(seed).standard_normal(buffer.size // 4).astype(np.float32)
    found = {}
    for fuse in (True, False):
        buffer.memory[:] = before.view(np.uint8)
        with monkeypatch.context() as patch:
            if not fuse:
                patch.setattr("ggmlrpc_cpu.plan._next_reader", lambda *_: None)
            graph.key = bytes([fuse]) + bytes(31)
            device.prepare(graph).run(lambda: False)
        found[fuse] = buffer.memory.copy()
    differs = np.flatnonzero(found[True] != found[False])
    mine = (differs >= y.offset) & (differs < y.offset + y.nbytes)
    assert mine.all(), "a result other than that of the norm changed"
    if not may_be_left:
        assert not differs.size, "a norm that a client may read was left out"
    buffer.free()


def test_the_drawn_graphs_meet_fusion_and_its_refusal(device):
    steps = []
    for seed in range(GRAPHS):
        b, outputs, *_ = drawn(seed)
        buffer = allocate(outputs, device)
        graph = b.graph(*outputs)
        steps.append(len(graph.work) - len(device.prepare(graph).plan.records))
        buffer.free()
    assert {0, 1} <= set(steps)
