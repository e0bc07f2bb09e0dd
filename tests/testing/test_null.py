"""NullDevice: remembers graphs, changes nothing."""

from __future__ import annotations

import pytest

from ggmlrpc_core.errors import GraphStopped
from ggmlrpc_core.graph.tensor import Graph
from ggmlrpc_core.testing.null import NullDevice


def test_a_run_is_remembered_unless_stopped():
    device, graph = NullDevice(), Graph([])
    executable = device.prepare(graph)
    executable.run(lambda: False)
    with pytest.raises(GraphStopped):
        executable.run(lambda: True)
    assert device.ran == [graph]
