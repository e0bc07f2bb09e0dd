"""Results into the memory of nodes."""

import numpy as np
import pytest

from ggmlrpc_core.graph.views import raw_view
from ggmlrpc_core.ops.declare import Leading, RowUpdate, Updates
from ggmlrpc_core.ops.store import store


def view(t):
    return raw_view(t, t.buffer)


@pytest.mark.parametrize(
    ("type", "expected"), [("F32", 1.5), ("F16", 1.5), ("BF16", 1.5), ("I32", 1)]
)
def test_values_are_encoded(bench, type, expected):
    node = bench.node("ADD", type, (3, 2))
    store(np, node, np.full(node.shape, 1.5), view)
    assert (bench.numbers(node) == expected).all()


def test_raw_values_are_stored_as_they_are(bench):
    node = bench.node("CPY", "Q8_0", (32,))
    raw = np.arange(34, dtype=np.uint8).reshape(1, 1, 1, 34)
    store(np, node, raw, view)
    assert node.buffer.tolist() == list(range(34))


def test_strides_of_the_node_are_kept(bench):
    node = bench.node(
        "ADD", "F32", (2, 2), nb=(4, 16, 32, 32), buffer=np.full(28, 255, np.uint8), offset=4
    )
    store(np, node, np.zeros(node.shape), view)
    assert (node.buffer == 0).tolist() == [False] * 4 + [True] * 8 + [False] * 8 + [True] * 8


@pytest.mark.parametrize("type", ["F32", "BF16"])
def test_leading(bench, type):
    node = bench.leaf(type, 5, data=[1, 2, 3, 4, 5])
    store(np, node, Leading(np.array([8.0, 9.0])), view)
    assert bench.numbers(node).ravel().tolist() == [8, 9, 3, 4, 5]


def test_rows(bench):
    node = bench.node("SET_ROWS", "F32", (2, 4, 2))
    rows = np.array([[[3, 0], [1, 2]]])
    store(np, node, RowUpdate(rows, np.arange(8.0).reshape(1, 2, 2, 2)), view)
    assert bench.numbers(node)[0, 0].tolist() == [[2, 3], [0, 0], [0, 0], [0, 1]]
    assert bench.numbers(node)[0, 1].tolist() == [[0, 0], [4, 5], [6, 7], [0, 0]]


def test_updates_reach_sources_and_the_node(bench):
    a, b = bench.leaf("F32", 2), bench.leaf("F32", 2)
    node = bench.node("OPT_STEP_SGD", "F32", (2,), a, b)
    one, two = np.full(node.shape, 1.0), np.full(node.shape, 2.0)
    store(np, node, Updates({1: one, -1: two}), view)
    assert bench.numbers(b).ravel().tolist() == [1.0, 1.0]
    assert bench.numbers(node).ravel().tolist() == [2.0, 2.0]


def test_a_wrong_shape_is_a_fault_of_the_op(bench):
    with pytest.raises(AssertionError, match=r"^ADD returned shape \(1, 1, 1, 3\)$"):
        store(np, bench.node("ADD", "F32", (2,)), np.zeros((1, 1, 1, 3)), view)


def test_a_device_gets_a_copy_where_source_and_target_overlap(bench):
    copied = []

    class Array(np.ndarray):
        def copy(self):
            copied.append(self.shape)
            return super().copy()

    class Library:
        uint8, uint16 = np.uint8, np.uint16
        float32 = np.float32
        may_share_memory = staticmethod(np.may_share_memory)

    a = bench.leaf("F32", 4)
    node = bench.node("CPY", "F32", (4,), a, buffer=a.buffer)
    store(Library, node, view(a).view(Array), view)
    store(Library, node, np.ones(node.shape, np.float32).view(Array), view)
    assert copied == [(1, 1, 1, 4)]
    assert bench.numbers(node).ravel().tolist() == [1.0] * 4
