"""ReferenceDevice: every op by the reference functions on NumPy bytes. Slow, complete, and the oracle of tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import ggmlrpc_core.ops  # noqa: F401  declares every op
from ggmlrpc_core.errors import GraphStopped, UnsupportedOp
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.ops.declare import OPS
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_core.testing.host import HostDevice, host_array


class ReferenceExecutable:
    """Runs the nodes one by one."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Compute every node; asks `should_stop` before each. See Executable.run."""
        for node in self._graph.work:
            if should_stop():
                raise GraphStopped(
                    "run", "should_stop", True, "False", context=f"node {node.name!r}"
                )
            run_node(np, node, host_array)


class ReferenceDevice(HostDevice):
    """The op table on NumPy."""

    description = "reference ops on NumPy"

    def __init__(self, name: str = "REF0", **options: int) -> None:
        super().__init__(name, **options)

    def supports(self, node: Tensor) -> bool:
        """Whether the op is declared with arithmetic."""
        op = OPS.get(node.op)
        return op is not None and op.compute is not None

    def prepare(self, graph: Graph) -> ReferenceExecutable:
        """Keep the graph.

        Raises:
            UnsupportedOp: a node that has no arithmetic.
        """
        for node in graph.work:
            if not self.supports(node):
                raise UnsupportedOp(
                    "prepare", "op", node.op, "one of the op table", context=f"node {node.name!r}"
                )
        return ReferenceExecutable(graph)
