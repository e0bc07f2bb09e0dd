"""Tensors to the wire: the graph message is what the stock client sends."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.client.serialise import agreed_message, graph_message, numbered_alike, record_of
from ggmlrpc_core.errors import AmbiguousDialect, LocalProtocolError, UnsupportedOp
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.bind import Bound
from ggmlrpc_core.graph.build import GraphBuilder, Prec, allocate
from ggmlrpc_core.graph.parse import parse_graph
from ggmlrpc_core.ops.validate import check_nodes
from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names, newest, states_of

BASE = 1 << 40


def place(tensor):
    return (0, 0) if tensor.buffer is None else (77, BASE + tensor.offset)


FIELDS = ("type", "ne", "nb", "op", "op_params", "flags", "offset", "name", "view_offs")
EVERYWHERE = ("CPY/cast", "MUL_MAT/F32 k=256 m=16 n=1")
SOMEWHERE = ("GRAPH/feed forward", "GRAPH/cache written and read", "PAD/F32 right", "PAD/F32 left")


def made(case):
    inputs, outputs = all_cases()[case].make()
    buffer = allocate(outputs, NullDevice())
    return inputs.graph(*outputs), buffer


def there_and_back(graph, buffer, spoken):
    """Newest, written by a client of a dialect, read by a server of it: the nodes are what they were.

    Returns:
        Whether the dialect can say the graph.
    """
    try:
        nodes, tensors = graph_message(graph, spoken, place)
    except UnsupportedOp:
        return False
    parsed = parse_graph(
        nodes, tensors, dialect=spoken,
        resolve=lambda handle: Bound(buffer, BASE, buffer.size) if handle == 77 else None,
        check_nodes=check_nodes,
    )  # fmt: skip
    counted = ("use_count",) if "use_count" in tensors.dtype.names else ()
    for got, want in zip(parsed.nodes, graph.nodes, strict=True):
        for field in (*FIELDS, *counted):
            assert getattr(got, field) == getattr(want, field), (spoken, want, field)
        assert [s and s.name for s in got.src] == [s and s.name for s in want.src]
        assert (got.view_src and got.view_src.name) == (want.view_src and want.view_src.name)
    return True


EVERY = [*dialect_names(), *fork_names(), "7.0.0/name128", "2.0.0/name128@2025-08-05"]


@pytest.mark.parametrize("name", EVERY)
def test_a_parsed_message_is_the_graph_again(name):
    for case in EVERYWHERE:
        assert there_and_back(*made(case), dialect(name))
    said = [there_and_back(*made(case), dialect(name)) for case in SOMEWHERE]
    assert all(said) or not name.startswith("7.")
    assert said[2] or not said[3]


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_case_comes_back_or_is_refused(name):
    said = [there_and_back(*made(case), dialect(name)) for case in all_cases()]
    assert sum(said) > 50
    if name == newest().name:
        assert all(said)


def test_ids_are_rows_and_foreign_tensors_have_no_place():
    b = GraphBuilder()
    x = b.new_tensor("F32", 4, name="x")
    y = b.add(x, x)
    allocate([y], NullDevice())
    graph = b.graph(y)
    x.buffer = None
    nodes, tensors = graph_message(graph, newest(), place)
    assert (nodes.tolist(), tensors["id"].tolist()) == ([2], [1, 2])
    assert tensors["src"][1].tolist() == [1, 1] + [0] * 8
    assert tensors["buffer"].tolist() == [0, 77] and tensors["data"].tolist() == [0, BASE + 32]
    assert tensors["use_count"].tolist() == [2, 0]
    assert tensors["op"][1] == NEWEST.ops["ADD"]


def test_equal_graphs_are_equal_bytes():
    def message():
        inputs, outputs = all_cases()["GRAPH/feed forward"].make()
        allocate(outputs, NullDevice())
        return graph_message(inputs.graph(*outputs), newest(), place)[1].tobytes()

    assert message() == message()


def test_what_does_not_fit_is_refused():
    b = GraphBuilder()
    long = b.new_tensor("I8", 1 << 32)
    with pytest.raises(LocalProtocolError, match="ne or nb is 4294967296"):
        record_of(long, place)
    small = b.scale(b.new_tensor("F32", 1), 1.0, name="small")
    allocate([small], NullDevice())
    graph = b.graph(small)
    small.nb = (4, 4, 4, 1 << 33)  # over an extent of 1: means nothing, and is cut
    _, tensors = graph_message(graph, newest(), place)
    assert tensors["nb"][-1].tolist() == [4, 4, 4, 0]
    small.ne = (1, 1 << 33, 1, 1)
    with pytest.raises(LocalProtocolError, match="'small'"):
        graph_message(graph, newest(), place)


def test_an_op_that_the_dialect_lacks_is_named():
    b = GraphBuilder()
    node = b.swiglu_clamp(b.new_tensor("F32", 4), b.new_tensor("F32", 4), limit=1.0)
    allocate([node], NullDevice())
    graph = b.graph(node)
    missing = [n for n in dialect_names() if "SWIGLU_CLAMP" not in dialect(n).numbering.glu]
    for name in missing:
        with pytest.raises(UnsupportedOp, match="SWIGLU_CLAMP"):
            graph_message(graph, dialect(name), place)
    assert len(graph_message(graph, newest(), place)[1]) == 3


def test_a_record_has_no_sources():
    b = GraphBuilder()
    y = b.mul_mat(b.new_tensor("Q8_0", 32, 3), b.new_tensor("F32", 32), name="käse")
    record = record_of(y, lambda tensor: (5, 6))
    assert (record.src, record.buffer, record.data) == ((0,) * 10, 5, 6)
    assert record.name.decode() == "käse" and record.op == NEWEST.ops["MUL_MAT"]
    assert np.array_equal(record.ne, (3, 1, 1, 1))


def one_node(make):
    b = GraphBuilder()
    node = make(b, b.new_tensor("F32", 8, name="x"))
    allocate([node], NullDevice())
    return b.graph(node)


TWO = tuple(states_of("3.0.0")[:2])  # the later one has four unary functions more


def test_what_all_states_say_alike_is_sent():
    graph = one_node(lambda b, x: b.silu(b.rms_norm(x, eps=1e-5)))
    nodes, tensors = agreed_message(graph, TWO, place)
    _, alone = graph_message(graph, TWO[1], place)
    assert tensors.tobytes() == alone.tobytes()
    assert len(nodes) == 2


@pytest.mark.parametrize(
    ("candidates", "make", "named"),
    [
        (TWO, lambda b, x: b.unary(x, "FLOOR"), "UNARY"),
        (states_of("3.0.0"), lambda b, x: b.scale(x, 2.0), "SCALE"),
        (
            [dialect("6.0.0"), dialect("7.0.0")],
            lambda b, x: b.mul_mat(x, x, prec=Prec.F16),
            "the form of its nodes",
        ),
    ],
)
def test_what_states_say_in_different_ways_is_refused(candidates, make, named):
    with pytest.raises(AmbiguousDialect) as caught:
        agreed_message(one_node(make), candidates, place)
    assert caught.value.got == named
    assert all(one.name in str(caught.value) for one in candidates)


def test_what_no_state_can_say_is_not_called_ambiguous():
    graph = one_node(lambda b, x: b.swiglu_clamp(x, x, limit=1.0))
    with pytest.raises(UnsupportedOp, match="SWIGLU_CLAMP"):
        agreed_message(graph, TWO, place)


def test_whether_an_op_has_one_number():
    assert numbered_alike("ADD", states_of("3.0.0"))
    assert not numbered_alike("UNARY", states_of("3.0.0"))
    assert not numbered_alike("TOP_K", states_of("3.0.0"))
