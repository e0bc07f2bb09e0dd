"""Graphs made in Python: the builder, the order of nodes, and memory for tensors.

The same graph runs on a local device and, through `ggmlrpc_core.client`, on a remote one: both are
given to `allocate` and both run what `GraphBuilder.graph` returns. No socket here.

    b = GraphBuilder()
    w, x = b.new_tensor("F32", 64, 32, name="w"), b.new_tensor("F32", 64, 1, name="x")
    y = b.mul_mat(w, x)
    buffer = allocate([y], device)
    graph = b.graph(y)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.graph.build_images import ImageOps
from ggmlrpc_core.graph.build_ops import ModelOps, Order, Prec, RopeMode
from ggmlrpc_core.graph.build_rare import OtherOps
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, FLAG_PARAM, Graph, Tensor

__all__ = [
    "Allocator",
    "GraphBuilder",
    "Order",
    "Prec",
    "RopeMode",
    "allocate",
    "bind",
    "graph_key",
    "layout",
    "message_order",
    "node_order",
]


class Allocator(Protocol):
    """What `allocate` needs: a `Device`, or the client's `RemoteDevice`."""

    @property
    def alignment(self) -> int: ...

    def alloc(self, size: int) -> Any: ...

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None]) -> int: ...


class GraphBuilder(ModelOps, ImageOps, OtherOps):
    """Makes tensors by ggml's constructor names and turns outputs into a graph."""

    def graph(self, *outputs: Tensor) -> Graph:
        """Everything that `outputs` need, in compute order.

        Sets FLAG_COMPUTE on every tensor with an op, `use_count` on every tensor, and names where
        there are none, as ggml does.

        Raises:
            LocalProtocolError: two tensors share an id, or a node has no buffer.
        """
        nodes, leafs, use_count = _visit(outputs)
        names: dict[int, Tensor] = {}
        for t in [*nodes, *leafs]:
            if names.setdefault(t.id, t) is not t:
                raise LocalProtocolError(
                    "graph",
                    f"id of {t.name!r}",
                    t.id,
                    "unique; derive builders: GraphBuilder(parent)",
                )
            t.use_count = use_count[id(t)]
        for i, leaf in enumerate(leafs):
            leaf.name = leaf.name or f"leaf_{i}"
        for i, node in enumerate(nodes):
            node.name = node.name or f"node_{i}"
            if node.op != "NONE":
                node.flags |= FLAG_COMPUTE
            if node.buffer is None:
                raise LocalProtocolError(
                    "graph", f"buffer of {node.name!r}", None, "allocate() first"
                )
        return Graph(nodes, graph_key(nodes))


def _visit(outputs: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor], dict[int, int]]:
    """Nodes and leafs depth first, and how often each tensor (by Python id) is a source.

    A loop with its own stack: a chain may be longer than Python's.
    """
    nodes: list[Tensor] = []
    leafs: list[Tensor] = []
    use_count: dict[int, int] = {}
    for output in outputs:
        if id(output) in use_count:
            continue
        use_count[id(output)] = 0
        stack = [(output, iter(output.src))]
        while stack:
            tensor, sources = stack[-1]
            for src in sources:
                if src is None:
                    continue
                if id(src) in use_count:
                    use_count[id(src)] += 1
                    continue
                use_count[id(src)] = 1
                stack.append((src, iter(src.src)))
                break
            else:
                stack.pop()
                leaf = tensor.op == "NONE" and not tensor.flags & FLAG_PARAM
                (leafs if leaf else nodes).append(tensor)
    return nodes, leafs, use_count


def node_order(*outputs: Tensor) -> list[Tensor]:
    """The nodes that `outputs` need, sources before readers, depth first from source 0."""
    return _visit(outputs)[0]


def message_order(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Every tensor reachable from `tensors`, as a client lists them in GRAPH_COMPUTE.

    Depth first: sources 0 to 9, the view source, then the tensor itself; each once.
    """
    order: list[Tensor] = []
    seen: set[int] = set()
    for tensor in tensors:
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        stack = [(tensor, iter((*tensor.src, tensor.view_src)))]
        while stack:
            top, sources = stack[-1]
            for src in sources:
                if src is not None and id(src) not in seen:
                    seen.add(id(src))
                    stack.append((src, iter((*src.src, src.view_src))))
                    break
            else:
                stack.pop()
                order.append(top)
    return order


def graph_key(nodes: Sequence[Tensor]) -> bytes:
    """Digest of everything that decides what running `nodes` does; names and ids do not count."""
    tensors = message_order(nodes)
    row = {id(t): i for i, t in enumerate(tensors)}
    table = TensorTable.from_tensors(tensors)
    place = np.array([(id(t.buffer), t.offset, t.flags, t.use_count) for t in tensors], np.int64)
    digest = blake2b(digest_size=32)
    for column in (
        np.array([row[id(n)] for n in nodes], np.int64),
        table.ne,
        table.nb,
        table.type,
        table.op,
        table.op_params,
        table.src,
        table.view_src,
        place,
    ):
        digest.update(len(column).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(column).data)
    return digest.digest()


def layout(
    tensors: Sequence[Tensor],
    alignment: int,
    *,
    alloc_size: Callable[[Tensor, list[Tensor | None]], int] | None = None,
) -> tuple[list[int], int]:
    """Offsets that put tensors one behind the other, and the size of the whole, bytes.

    Args:
        tensors: none of them a view.
        alignment: of every offset, a power of two.
        alloc_size: bytes a tensor needs; None for its nbytes.
    """
    offsets = []
    end = 0
    for tensor in tensors:
        offsets.append(end)
        size = alloc_size(tensor, list(tensor.src)) if alloc_size else tensor.nbytes
        end += -(-size // alignment) * alignment
    return offsets, end


def bind(tensors: Iterable[Tensor], buffer: Any, offsets: Iterable[int]) -> None:
    """Say where tensors live."""
    for tensor, offset in zip(tensors, offsets, strict=True):
        tensor.buffer, tensor.offset = buffer, offset


def allocate(roots: Sequence[Tensor], device: Allocator) -> Any:
    """Put every tensor reachable from `roots` that has no buffer into a new one; bind views.

    Returns:
        What `device.alloc` returned, or None when there was nothing to place.

    Raises:
        OutOfDeviceMemory: it does not fit. Nothing is bound then.
    """
    tensors = message_order(roots)
    loose = [t for t in tensors if t.view_src is None and t.buffer is None]
    buffer = None
    if loose:
        offsets, size = layout(loose, device.alignment, alloc_size=device.alloc_size)
        buffer = device.alloc(max(size, device.alignment))
        bind(loose, buffer, offsets)
    for t in tensors:
        if t.view_src is not None:
            t.buffer, t.offset = t.view_src.buffer, t.view_src.offset + t.view_offs
    return buffer
