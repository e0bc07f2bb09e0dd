"""Graph builder: shapes, parameters, node order, use counts, keys, layout."""

from __future__ import annotations

import struct

import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.graph.build import (
    GraphBuilder,
    allocate,
    layout,
    message_order,
    node_order,
)
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE


class Memory:
    """An allocator that only counts."""

    alignment = 32

    def __init__(self):
        self.sizes = []

    def alloc(self, size):
        self.sizes.append(size)
        return f"buffer{len(self.sizes)}"

    def alloc_size(self, tensor, srcs):
        return tensor.nbytes


@pytest.fixture
def b():
    return GraphBuilder()


def bits(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]


def test_nodes_come_after_their_sources_depth_first(b):
    x, w = b.new_tensor("F32", 4), b.new_tensor("F32", 4)
    left, right = b.sqr(x), b.mul(x, w)
    top = b.add(left, right)
    assert node_order(top) == [left, right, top]
    assert node_order(right, top) == [right, left, top]
    assert message_order([right, top]) == [x, w, right, left, top]


def test_message_lists_the_view_source_after_the_sources(b):
    cache, values, ids = b.new_tensor("F32", 4, 4), b.new_tensor("F32", 4), b.new_tensor("I32", 1)
    view = b.view(cache, 4, 2)
    s = b.set_rows(view, values, ids)
    assert message_order([s]) == [values, ids, cache, view, s]


def test_graph_counts_readers_and_sets_flags_and_names(b):
    x = b.new_tensor("F32", 4)
    s = b.sqr(x)
    top = b.add(s, s)
    cast = b.cast(top, "F16")
    allocate([cast], Memory())
    graph = b.graph(cast)
    assert graph.nodes == [s, top, cast] == graph.work
    assert [t.use_count for t in (x, s, top, cast)] == [1, 2, 1, 1]
    assert [t.flags for t in (x, s)] == [0, FLAG_COMPUTE]
    assert [t.name for t in (x, s, top)] == ["leaf_0", "node_0", "node_1"]


def test_graph_refuses_unbound_nodes_and_shared_ids(b):
    x = b.new_tensor("F32", 4)
    with pytest.raises(LocalProtocolError, match="allocate"):
        b.graph(b.sqr(x))
    other = GraphBuilder().new_tensor("F32", 4)
    with pytest.raises(LocalProtocolError, match="unique"):
        b.graph(b.add(x, other))
    child = GraphBuilder(b)
    y = child.add(x, child.new_tensor("F32", 4))
    allocate([y], Memory())
    assert child.graph(y).nodes == [y]


def test_key_follows_meaning_and_not_names(b):
    x = b.new_tensor("F32", 4)
    y = b.scale(x, 2.0)
    memory = Memory()
    allocate([y], memory)
    key = b.graph(y).key
    assert len(key) == 32
    y.name, x.id = "other", 99
    assert b.graph(y).key == key
    y.offset += 32
    assert b.graph(y).key != key
    y.offset -= 32
    y.op_params = (bits(3.0), *y.op_params[1:])
    assert b.graph(y).key != key


def test_layout_aligns_every_offset(b):
    tensors = [b.new_tensor("F32", n) for n in (1, 9, 8)]
    assert layout(tensors, 32) == ([0, 32, 96], 128)
    assert layout(tensors, 32, alloc_size=lambda t, srcs: t.nbytes + 32) == ([0, 64, 160], 224)


def test_allocate_places_roots_once_and_views_in_them(b):
    memory = Memory()
    x = b.new_tensor("F32", 4, 4)
    assert allocate([x], memory) == "buffer1"
    v = b.view(x, 4, offset=16)
    y = b.sqr(v)
    assert allocate([y], memory) == "buffer2"
    assert (v.buffer, v.offset) == ("buffer1", 16)
    assert (x.buffer, y.buffer, memory.sizes) == ("buffer1", "buffer2", [64, 32])
    assert allocate([y], memory) is None


def test_a_very_long_chain_needs_no_recursion(b):
    t = b.new_tensor("F32", 1)
    for _ in range(5000):
        t = b.sqr(t)
    assert len(node_order(t)) == 5000
