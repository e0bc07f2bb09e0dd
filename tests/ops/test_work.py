"""The estimate of a graph's work: figures worked out by hand, and the bound."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.ops import OPS
from ggmlrpc_core.ops.work import SORT_FACTOR, WORK, check_work, node_work


def work_of(*nodes):
    """Operations of nodes that were built in Python."""
    deep = [t for n in nodes for s in n.src for t in (*s.src, s)]
    tensors = list(dict.fromkeys([*deep, *nodes]))
    table = TensorTable.from_tensors(tensors)
    return node_work(table, np.array([tensors.index(node) for node in nodes])).tolist()


def test_elements_that_are_read_and_written(bench):
    a, b = bench.leaf("F32", 8, 4), bench.leaf("F32", 8)
    assert work_of(bench.node("ADD", "F32", (8, 4), a, b)) == [32 + 32 + 8]
    view = bench.part(a, 4, nb=a.nb)
    assert work_of(view) == [0]


def test_a_product_counts_its_inner_loop(bench):
    w, x = bench.leaf("F16", 64, 10), bench.leaf("F32", 64, 3)
    assert work_of(bench.node("MUL_MAT", "F32", (10, 3), w, x)) == [
        2 * 64 * 10 * 3 + 640 + 192 + 30
    ]


def test_attention(bench):
    q, k, v = bench.leaf("F32", 64, 5, 8), bench.leaf("F16", 64, 7, 2), bench.leaf("F16", 32, 7, 2)
    node = bench.node("FLASH_ATTN_EXT", "F32", (32, 8, 5), q, k, v)
    assert work_of(node) == [2 * 5 * 8 * 7 * (64 + 32) + 64 * 40 + 64 * 14 + 32 * 14 + 32 * 40]


def test_convolutions(bench):
    kernel, image = bench.leaf("F32", 3, 2, 4, 6), bench.leaf("F32", 10, 10, 4)
    node = bench.node("CONV_2D", "F32", (8, 9, 6), kernel, image, params={0: 1, 1: 1, 4: 1, 5: 1})
    assert work_of(node) == [2 * (8 * 9 * 6) * (3 * 2 * 4) + 144 + 400 + 432]


def test_parameters_that_repeat_the_work(bench):
    mixes, scale, base = bench.leaf("F32", 24, 5), bench.leaf("F32", 3), bench.leaf("F32", 24)
    node = bench.node("DSV4_HC_COMB", "F32", (4, 4, 5), mixes, scale, base, params={1: 65536})
    assert work_of(node) == [8 * 80 * 65536 + 120 + 3 + 24 + 80]


def test_sorting(bench):
    node = bench.node("ARGSORT", "I32", (9, 2), bench.leaf("F32", 9, 2))
    assert work_of(node) == [SORT_FACTOR * 18 + 18 + 18]


def test_extents_beyond_64_bits_do_not_wrap(bench):
    a = bench.part(bench.leaf("F32", 1), 1 << 29, 1 << 29, nb=(4, 0, 0, 0))
    node = bench.node("MUL_MAT", "F32", a.ne[:2], a, a, buffer=a.buffer)
    assert work_of(node)[0] == pytest.approx(2.0**88)


def test_every_op_with_an_inner_loop_is_one_of_ours():
    assert set(WORK) <= set(OPS)


def test_the_bound_names_the_node_that_asks_for_most(bench):
    small = bench.node("SQR", "F32", (4,), bench.leaf("F32", 4))
    a = bench.leaf("F32", 64, 64)
    big = bench.node("MUL_MAT", "F32", (64, 64), a, a)
    big.name = "big"
    tensors = [small.src[0], small, a, big]
    table, rows = TensorTable.from_tensors(tensors), np.array([1, 3])
    check_work(table, rows, 1e6)
    with pytest.raises(BadGraph) as caught:
        check_work(table, rows, 1e5)
    assert str(caught.value) == (
        "GRAPH_COMPUTE: work of the graph is 5.4e+05 operations, expected at most 1e+05 "
        "[most of it in MUL_MAT 'big']"
    )
