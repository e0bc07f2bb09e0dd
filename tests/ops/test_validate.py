"""What every op is checked for before its own rule: known, sources, types, strides."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.ops import check_nodes


def test_a_missing_source_is_named(bench):
    a = bench.leaf("F32", 4)
    assert bench.refusal(bench.node("ADD", "F32", (4,), a)) == (
        "GRAPH_COMPUTE: src[1] is absent, expected a tensor (b) [ADD 'y']"
    )
    assert bench.refusal(bench.node("ADD", "F32", (4,), None, a)) == (
        "GRAPH_COMPUTE: src[0] is absent, expected a tensor (a) [ADD 'y']"
    )


def test_types_of_sources_and_result(bench):
    a = bench.tensor("I32", 4)
    assert bench.refusal(bench.node("SQR", "F32", (4,), a)) == (
        "GRAPH_COMPUTE: src[0].type is I32, expected one of F32, F16, BF16 [SQR 'y']"
    )
    a = bench.tensor("F16", 4)
    assert bench.refusal(bench.node("RMS_NORM", "F32", (4,), a)) == (
        "GRAPH_COMPUTE: type is F32, expected the type of src[0] [RMS_NORM 'y']"
    )
    assert bench.refusal(bench.node("SQR", "I32", (4,), a)) == (
        "GRAPH_COMPUTE: type is I32, expected one of F32, F16, BF16 [SQR 'y']"
    )


def test_optional_sources_are_judged_when_present(bench):
    a = bench.leaf("F32", 4)
    good = bench.node("SOFT_MAX", "F32", a.ne, a, params={0: 1.0})
    bad = bench.node("SOFT_MAX", "F32", a.ne, a, bench.tensor("I32", 4), params={0: 1.0})
    bench.check(good)
    with pytest.raises(BadGraph, match=r"src\[1\]\.type is I32, expected one of F32, F16"):
        bench.check(good, bad)


def test_the_first_bad_node_of_an_op_is_named(bench):
    a, other = bench.leaf("F32", 4), bench.leaf("F32", 5)
    nodes = [bench.node("SQR", "F32", ne, s) for ne, s in (((4,), a), ((4,), other), ((5,), a))]
    for i, node in enumerate(nodes):
        node.name = f"n{i}"
    with pytest.raises(BadGraph) as caught:
        bench.check(*nodes)
    assert str(caught.value) == "GRAPH_COMPUTE: ne is [4, 1, 1, 1], expected src[0].ne [SQR 'n1']"


def test_names_are_escaped_and_cut(bench):
    node = bench.node("SQR", "F32", (4,), bench.leaf("F32", 5))
    node.name = "\n" + "x" * 200
    assert "\n" not in bench.refusal(node)
    assert len(bench.refusal(node)) < 160


def table_of(bench, op_number):
    """A table of one leaf and one node whose op number is changed."""
    a = bench.leaf("F32", 4)
    node = bench.node("SQR", "F32", (4,), a)
    table = TensorTable.from_tensors([a, node])
    table.op[1] = op_number
    return table


@pytest.mark.parametrize("number", [101, 5000, -1])
def test_unknown_numbers(bench, number):
    with pytest.raises(BadGraph) as caught:
        check_nodes(table_of(bench, number), np.array([1]))
    assert str(caught.value) == (
        f"GRAPH_COMPUTE: op is {number}, expected an op that can be computed [{number} 'y']"
    )


def test_nodes_without_elements_need_only_a_known_op(bench):
    a = bench.leaf("F32", 4)
    bench.check(bench.node("SQR", "F32", (0,), a))
    with pytest.raises(BadGraph):
        bench.check(bench.node("CUSTOM", "F32", (0,), a))


def test_no_nodes(bench):
    check_nodes(table_of(bench, 0), np.zeros(0, np.int64))


def test_quantized_rows_have_no_gaps_between_blocks(bench):
    a = bench.tensor("Q4_0", 64, 2)
    a.nb = (17, 36, 72, 72)
    node = bench.node("CPY", "F32", (64, 2), a)
    rule = "expected multiples of the element size, without gaps between blocks"
    assert bench.refusal(node) == f"GRAPH_COMPUTE: src[0].nb is [17, 36, 72, 72], {rule} [CPY 'y']"


def test_elements_lie_at_multiples_of_their_size(bench):
    a = bench.tensor("F32", 4, 2)
    a.nb = (4, 18, 36, 36)
    rule = "expected multiples of the element size, without gaps between blocks"
    assert bench.refusal(bench.node("SQR", "F32", a.ne, a)) == (
        f"GRAPH_COMPUTE: src[0].nb is [4, 18, 36, 36], {rule} [SQR 'y']"
    )
    node = bench.node("SQR", "F32", (4, 2), bench.leaf("F32", 4, 2))
    node.nb = (4, 18, 36, 36)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: nb is [4, 18, 36, 36], {rule} [SQR 'y']"


OVERLAPS = [(0, 16, 32, 32), (4, 12, 48, 48), (4, 16, 16, 32)]


@pytest.mark.parametrize("nb", OVERLAPS)
def test_elements_of_a_result_do_not_overlap(bench, nb):
    node = bench.node("SQR", "F32", (4, 2, 2), bench.leaf("F32", 4, 2, 2))
    node.nb = nb
    rule = "expected strides under which no two elements of the result overlap"
    assert bench.refusal(node) == f"GRAPH_COMPUTE: nb is {list(nb)}, {rule} [SQR 'y']"


@pytest.mark.parametrize("nb", [(4, 32, 16, 64), (8, 4, 32, 64), (4, 100, 200, 0), (16, 8, 4, 999)])
def test_permuted_results_and_gaps_are_fine(bench, nb):
    node = bench.node("SQR", "F32", (4, 2, 2), bench.leaf("F32", 4, 2, 2))
    node.nb = nb
    bench.check(node)


def test_overlapping_rows_of_a_quantized_result(bench):
    node = bench.node("CPY", "Q4_0", (64, 2), bench.leaf("F32", 64, 2))
    node.nb = (18, 18, 36, 36)
    rule = "expected strides under which no two elements of the result overlap"
    assert bench.refusal(node) == f"GRAPH_COMPUTE: nb is [18, 18, 36, 36], {rule} [CPY 'y']"


def test_overlapping_views_may_be_read(bench):
    a = bench.leaf("F32", 8)
    windows = bench.part(a, 3, 6, nb=(4, 4, 24, 24))
    found = bench.run(bench.node("CONT", "F32", (3, 6), windows))
    x = bench.numbers(a).ravel()
    assert found[0, 0].tolist() == [x[i : i + 3].tolist() for i in range(6)]


WIDE = [
    ("SUM", "F32", (1,), (2**16, 2**12), (0, 0, 0, 0)),
    ("SUM", "F32", (1,), (1024, 2**20), (4, 0, 0, 0)),
    ("ARGMAX", "I32", (1,), (2**31, 1), (0, 0, 0, 0)),
    ("SUM", "F32", (1,), (1024, 2**20), (4, 4, 4, 4)),
]


@pytest.mark.parametrize(("op", "result", "ne", "wide", "nb"), WIDE)
def test_a_few_bytes_do_not_stand_for_a_large_source(bench, op, result, ne, wide, nb):
    a = bench.tensor("F32", *wide, nb=nb)
    assert bench.refusal(bench.node(op, result, ne, a)) == (
        f"GRAPH_COMPUTE: src[0].nb is {list(nb)}, expected strides under which it has at most 16 times "
        f"the bytes that it occupies [{op} 'y']"
    )


def test_rows_of_a_quantized_source_count_in_blocks(bench):
    node = bench.node(
        "GET_ROWS",
        "F32",
        (32, 1),
        bench.tensor("Q4_0", 32, 2**24, nb=(18, 1, 0, 0)),
        bench.leaf("I32", 1, data=[5]),
    )
    assert "at most 16 times the bytes" in bench.refusal(node)
    node.src[0].nb = (18, 2, 0, 0)
    bench.check(node)


def test_small_sources_may_repeat_themselves_without_bound(bench):
    a = bench.tensor("F32", 2**16, 2**10, nb=(0, 0, 0, 0))
    bench.check(bench.node("SUM", "F32", (1,), a))
    assert a.nbytes == 4


def test_an_unread_tensor_may_claim_any_extent(bench):
    a = bench.tensor("F32", 2**31, 2**10, nb=(0, 0, 0, 0))
    bench.check(
        bench.node("VIEW", "F32", (4,), a), bench.node("SQR", "F32", (4,), bench.leaf("F32", 4))
    )
