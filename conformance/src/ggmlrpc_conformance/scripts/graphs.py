"""Small graphs that scripted cases send."""

from __future__ import annotations

import numpy as np

from ggmlrpc_conformance.faults import Mismatch
from ggmlrpc_conformance.graphs import graph_fields
from ggmlrpc_conformance.link import Link, Memory
from ggmlrpc_core.graph.build import GraphBuilder
from ggmlrpc_core.graph.tensor import Tensor


class Scale:
    """y = factor * a over n floats; a at 0 of its own buffer, y behind it.

    Args:
        link: where.
        factor: of all elements.
        n: elements.
        n_nodes: a chain of as many in-place steps; the factor is that of each.
    """

    def __init__(
        self, link: Link, factor: float, *, n: int = 64, n_nodes: int = 1, device: int = 0
    ) -> None:
        self.link, self.n, self.factor = link, n, factor
        self.memory: Memory = link.alloc(8 * n + 256, device=device)
        at = -(-4 * n // 128) * 128
        b = GraphBuilder()
        a = b.new_tensor("F32", n)
        self._place(a, 0)
        node = b.node("SCALE", "F32", (n,), src=[a], params={0: factor})
        self._place(node, at)
        for _ in range(n_nodes - 1):
            node = b.scale(node, factor, inplace=True)
        self._at = at
        self.fields = graph_fields(link.dialect, b.graph(node).nodes, self.memory, device=device)

    def _place(self, tensor: Tensor, offset: int) -> None:
        tensor.buffer, tensor.offset = self.memory, offset

    def load(self, value: float) -> None:
        """Set every element of a."""
        self.link.set(self.memory, np.full(self.n, value, np.float32).tobytes())

    def compute(self) -> None:
        """Send the graph."""
        self.link.call("GRAPH_COMPUTE", **self.fields)

    def recompute(self) -> None:
        """Run it again, by GRAPH_RECOMPUTE where the dialect has it."""
        if "GRAPH_RECOMPUTE" in self.link.dialect.by_name:
            self.link.call("GRAPH_RECOMPUTE", device=0)
        else:
            self.compute()

    def check(self, value: float) -> None:
        """Every element of y.

        Raises:
            Mismatch: one is another.
        """
        got = np.frombuffer(self.link.get(self.memory, 4 * self.n, offset=self._at), "<f4")
        if not np.allclose(got, value, rtol=1e-5):
            raise Mismatch(f"{value:g} in every element", f"{got[:4].tolist()} first")


def heavy(link: Link, *, size: int = 768) -> dict[str, object]:
    """The fields of a GRAPH_COMPUTE that takes a while: a chain of products of square matrices of zeros."""
    memory = link.alloc(4 * size * size * 3 + 512)
    link.call("BUFFER_CLEAR", remote_ptr=memory.handle, value=0)
    b = GraphBuilder()
    offsets = [i * (4 * size * size + 128) // 128 * 128 for i in range(3)]
    w, x = b.new_tensor("F32", size, size), b.new_tensor("F32", size, size)
    nodes = []
    for tensor, offset in ((w, offsets[0]), (x, offsets[1])):
        tensor.buffer, tensor.offset = memory, offset
    last = x
    for i in range(8):
        last = b.mul_mat(w, last)
        last.buffer, last.offset = memory, offsets[2 - i % 2]
        nodes.append(last)
    return graph_fields(link.dialect, b.graph(last).nodes, memory)
