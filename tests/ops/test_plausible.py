"""What real clients build is plausible; what a wrong numbering makes of it is not."""

import numpy as np
import pytest
from model_graphs import llama

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build import message_order
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.ops.plausible import plausible
from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.null import NullDevice


def judge(tensors, nodes, change=lambda table, row: None):
    table = TensorTable.from_tensors(tensors)
    rows = [next(i for i, t in enumerate(tensors) if t is node) for node in nodes]
    change(table, rows[-1])
    return plausible(table, np.array(rows, np.int64))


def nodes_of(tensors):
    return [t for t in tensors if t.op != "NONE"]


def test_every_case_is_plausible():
    for case in all_cases().values():
        tensors = message_order(case.make()[1])
        assert judge(tensors, nodes_of(tensors)), case.name


@pytest.mark.parametrize("flash", [True, False])
def test_a_model_is_plausible(flash):
    graph = llama(NullDevice("N"), flash=flash, set_rows=flash, glu=flash)
    assert judge(message_order(graph.nodes), graph.nodes)


def one(op):
    """Tensors and nodes of a case whose last node has the op."""
    case = next(c for c in all_cases().values() if c.op == op)
    tensors = message_order(case.make()[1])
    node = next(t for t in tensors if t.op == op)
    return tensors, [node]


@pytest.mark.parametrize(
    ("op", "what"),
    [
        ("RMS_NORM", lambda t, r: t.op_params.__setitem__((r, 5), 1)),
        ("RMS_NORM", lambda t, r: t.src.__setitem__((r, 1), 0)),
        ("UNARY", lambda t, r: t.op_params.__setitem__((r, 9), 1)),
        ("ADD", lambda t, r: t.op.__setitem__(r, NEWEST.ops["NONE"])),
        ("ADD", lambda t, r: t.op.__setitem__(r, NEWEST.ops["VIEW"])),
        ("ADD", lambda t, r: t.op.__setitem__(r, NEWEST.ops["SQR"])),
        ("ADD", lambda t, r: t.op.__setitem__(r, -1)),
    ],
    ids=["parameter", "source", "function", "none", "view", "fewer sources", "unknown"],
)
def test_what_no_client_builds(op, what):
    tensors, nodes = one(op)
    assert judge(tensors, nodes)
    assert not judge(tensors, nodes, what)


@pytest.mark.parametrize(
    ("op", "what"),
    [
        ("RESHAPE", lambda t, r: t.ne.__setitem__((r, 3), 7)),
        ("PERMUTE", lambda t, r: t.ne.__setitem__((r, 3), 7)),
        ("TRANSPOSE", lambda t, r: t.type.__setitem__(r, 0)),
        ("VIEW", lambda t, r: t.view_src.__setitem__(r, -1)),
    ],
)
def test_views_that_show_nothing(op, what):
    graph = llama(NullDevice("N"))
    node = next(n for n in graph.nodes if n.op == op)
    tensors = message_order(graph.nodes)
    assert judge(tensors, [node])
    assert not judge(tensors, [node], what)
