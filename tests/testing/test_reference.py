"""ReferenceDevice: computes with the op table."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.errors import GraphStopped, UnsupportedOp
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.testing.host import host_array
from ggmlrpc_core.testing.reference import ReferenceDevice


def test_it_computes_and_stops_before_a_node():
    device, b = ReferenceDevice(), GraphBuilder()
    x = b.new_tensor("F32", 4)
    first = b.scale(x, 2.0)
    second = b.scale(first, 5.0)
    allocate([second], device)
    host_array(x)[...] = 3.0
    executable = device.prepare(b.graph(second))
    answers = iter([False, True])
    with pytest.raises(GraphStopped, match="node_1"):
        executable.run(lambda: next(answers))
    assert (host_array(first)[0, 0, 0].tolist(), host_array(second)[0, 0, 0, 0]) == ([6.0] * 4, 0.0)
    executable.run(lambda: False)
    np.testing.assert_array_equal(host_array(second)[0, 0, 0], [30.0] * 4)


def test_an_op_without_arithmetic_is_refused_before_running():
    device, b = ReferenceDevice(), GraphBuilder()
    node = b.node("MAP_CUSTOM1", "F32", (4,), src=[b.new_tensor("F32", 4)])
    allocate([node], device)
    with pytest.raises(UnsupportedOp, match="MAP_CUSTOM1"):
        device.prepare(b.graph(node))
