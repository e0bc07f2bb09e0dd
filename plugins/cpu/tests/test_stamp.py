"""Records that are used again for nodes of equal layout."""

from __future__ import annotations

import numpy as np
from ggmlrpc_cpu.stamp import signature, stand_in

from ggmlrpc_core.graph.build import GraphBuilder


def test_nodes_of_equal_layout_get_their_own_addresses(compare):
    def build(b: GraphBuilder):
        x, y = b.new_tensor("F32", 40, 3), b.new_tensor("F32", 40, 3)
        twice = b.add(x, x)  # the first of its layout has one tensor in both places
        return b.mul(b.add(twice, y), b.add(y, x))

    compare(build, nmse=0)
    assert compare.records == 4


def test_parts_of_a_source_keep_their_offset(compare):
    def build(b: GraphBuilder):
        x, y = b.new_tensor("F32", 80, 3), b.new_tensor("F32", 80, 3)
        return b.sub(b.swiglu(x), b.swiglu(y))

    compare(build, nmse=1e-11)


def test_signature_tells_parameters_and_strides_apart():
    b = GraphBuilder()
    x = b.new_tensor("F32", 8, 8)
    assert signature(b.scale(x, 1.0)) == signature(b.scale(b.new_tensor("F32", 8, 8), 1.0))
    assert signature(b.scale(x, 1.0)) != signature(b.scale(x, 2.0))
    assert signature(b.cont(x)) != signature(b.cont(b.transpose(x)))


def test_a_stand_in_is_nowhere():
    b = GraphBuilder()
    x = b.new_tensor("F32", 8)
    made = stand_in(b.add(x, x))
    assert [s.id for s in made.src] == [1, 2]
    assert made.src[0].buffer.address == 0


def test_a_plan_of_another_graph_reuses_records(compare):
    def build(b: GraphBuilder):
        return b.scale(b.new_tensor("F32", 12), 3.0)

    first, second = compare(build), compare(build)
    assert first.shape == second.shape and not np.array_equal(first, second)
