"""Shared shape rules, each with a graph that keeps it and one that breaks it."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.graph.table import Nodes, TensorTable
from ggmlrpc_core.ops import rules


def nodes_of(bench, ne, *sources, params=None):
    """Nodes of one ADD, unchecked."""
    node = bench.node("ADD", "F32", ne, *sources, params=params)
    direct = [s for s in sources if s is not None]
    tensors = [node, *direct, *(base for s in direct for base in s.src)]
    return Nodes(TensorTable.from_tensors(tensors), np.array([0]))


def test_divides():
    small, large = np.array([2, 3, 0, 5, 0]), np.array([4, 4, 4, 0, 0])
    assert rules.divides(small, large).tolist() == [True, False, False, True, False]


def refused(rule, c):
    with pytest.raises(BadGraph) as caught:
        rule(c)
    return str(caught.value).removeprefix("GRAPH_COMPUTE: ").removesuffix(" [ADD 'y']")


def test_shapes(bench):
    a, b = bench.tensor("F32", 4, 2), bench.tensor("F32", 2, 2)
    rules.same_shape(nodes_of(bench, (4, 2), a))
    assert (
        refused(rules.same_shape, nodes_of(bench, (2, 2), a))
        == "ne is [2, 2, 1, 1], expected src[0].ne"
    )
    rules.same_sources(nodes_of(bench, (4, 2), a, a))
    assert refused(rules.same_sources, nodes_of(bench, (4, 2), a, b)) == (
        "src[1].ne is [2, 2, 1, 1], expected src[0].ne"
    )
    rules.same_nelements(nodes_of(bench, (8,), a))
    assert refused(rules.same_nelements, nodes_of(bench, (9,), a)) == (
        "ne is [9, 1, 1, 1], expected as many elements as src[0]"
    )
    rules.tiles(nodes_of(bench, (4, 2), a, b))
    assert refused(rules.tiles, nodes_of(bench, (2, 2), b, a)) == (
        "src[1].ne is [4, 2, 1, 1], expected extents that divide src[0].ne"
    )


def test_result_ne(bench):
    c = nodes_of(bench, (4, 2), bench.tensor("F32", 1))
    rules.result_ne(c, (4, np.array([2]), 1, 1), "so")
    assert (
        refused(lambda c: rules.result_ne(c, (4, 3, 1, 1), "[4, 3]"), c)
        == "ne is [4, 2, 1, 1], expected [4, 3]"
    )


def test_gaps(bench):
    a = bench.tensor("F32", 4, 2)
    turned = bench.transposed(a, 1, 0, 2, 3)
    apart = bench.part(a, 2, 2, nb=(4, 16, 32, 32))
    rules.contiguous(0, 1)(nodes_of(bench, (4, 2), a, None))
    assert refused(rules.contiguous(1), nodes_of(bench, (4, 2), a, apart)) == (
        "src[1].nb is [4, 16, 32, 32], expected strides without gaps"
    )
    rules.rows_contiguous(0, 1)(nodes_of(bench, (4, 2), apart, None))
    assert refused(rules.rows_contiguous(0), nodes_of(bench, (4, 2), turned)) == (
        "src[0].nb[0] is 16, expected rows without gaps"
    )


def test_parameters_and_combinations(bench):
    a = bench.tensor("F32", 4)
    both = rules.all_of(rules.same_shape, rules.f32_at_least(2, "eps", 0.5))
    both(nodes_of(bench, (4,), a, params={2: 0.5}))
    assert (
        refused(both, nodes_of(bench, (4,), a, params={2: 0.25}))
        == "eps is 0.25, expected at least 0.5"
    )
    assert (
        refused(both, nodes_of(bench, (5,), a, params={2: 0.5}))
        == "ne is [5, 1, 1, 1], expected src[0].ne"
    )


def test_one_extent(bench):
    a = bench.tensor("F32", 4, 3)
    c = nodes_of(bench, (4, 3), a, None)

    def rule(n):
        return lambda c: rules.extent(c, c.src(0), "src[0]", dim=1, equals=n, rule="so many")

    rule(3)(c)
    assert refused(rule(2), c) == "src[0].ne[1] is 3, expected so many"
    rules.extent(c, c.src(1), "src[1]", dim=1, equals=7, rule="absent passes")
