"""Graphs of models under every numbering: only the client's own makes sense."""

import numpy as np
import pytest
from model_graphs import llama

from ggmlrpc_core.client.serialise import graph_message
from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.server.numbering import read_alike, senses
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.wire.clients import states_of_forms
from ggmlrpc_core.wire.dialects import dialect, dialect_names

STYLES = {
    "plain": {},
    "attention": {"flash": True},
    "glu": {"glu": True},
    "rows": {"glu": True, "set_rows": True},
    "newest": {"flash": True, "glu": True, "set_rows": True},
}
GRAPHS = {name: llama(NullDevice("N"), **style) for name, style in STYLES.items()}


def message(style, name):
    return graph_message(GRAPHS[style], dialect(name), lambda tensor: (1, tensor.offset))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", dialect_names())
def test_a_model_makes_sense_in_its_own_dialect_only(name, style):
    own = dialect(name)
    try:
        nodes, tensors = message(style, name)
    except UnsupportedOp as exc:
        assert exc.got in ("SWIGLU", "GLU", "SET_ROWS")  # younger than the dialect
        return
    states = [d for d in states_of_forms(own, (own,)) if not d.fork]
    found = senses(nodes, tensors, states)
    assert sorted(d.name for one in found for d in one.dialects) == sorted(d.name for d in states)
    (meant,) = [one for one in found if one.fault is None and one.plausible]
    assert own in meant.dialects


def test_what_is_read_alike_is_judged_once():
    nodes, tensors = message("rows", "2.0.0@2025-10-02")
    names = ("2.0.0@2025-09-04", "2.0.0@2025-10-02", "2.0.0@2025-07-03", "2.0.0@2025-06-30")
    found = senses(nodes, tensors, [dialect(n) for n in names])
    by_name = {d.name: one for one in found for d in one.dialects}
    assert by_name["2.0.0@2025-10-02"].fault is None
    assert by_name["2.0.0@2025-10-02"] is by_name["2.0.0@2025-09-04"]  # a unary function more
    assert by_name["2.0.0@2025-07-03"].fault is not None
    assert read_alike(nodes, tensors, [dialect(n) for n in names[:2]])
    assert not read_alike(nodes, tensors, [dialect(n) for n in names[:3]])


def test_a_graph_of_what_never_moved_means_the_same_to_all():
    tensors = np.zeros(3, message("plain", "2.0.0")[1].dtype)
    tensors["id"], tensors["ne"], tensors["nb"] = (1, 2, 3), (4, 1, 1, 1), (4, 16, 16, 16)
    tensors["op"][2], tensors["src"][2, :2] = dialect("2.0.0").numbering.ops["ADD"], (1, 2)
    states = states_of_forms(dialect("2.0.0"), (dialect("2.0.0"),))
    (one,) = senses(np.array([3], np.uint64), tensors, states)
    assert (one.fault, one.plausible) == (None, True)
    assert tuple(one.dialects) == states


def test_an_old_form_that_cannot_be_told_is_a_fault_of_that_reading():
    tensors = np.zeros(2, message("plain", "2.0.0")[1].dtype)
    tensors["id"], tensors["ne"] = (1, 2), (1, 1, 1, 1)
    d = dialect("2.0.0@2025-09-04")
    tensors["op"][1], tensors["op_params"][1, 0] = d.numbering.ops["TIMESTEP_EMBEDDING"], 3
    tensors["src"][1, 0] = 1
    (one,) = senses(np.array([2], np.uint64), tensors, [d])
    assert "TIMESTEP_EMBEDDING as before 2025-09-16" in str(one.fault)
