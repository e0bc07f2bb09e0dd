"""Running one node: sources, parameters, purity, and what happens when it cannot."""

import numpy as np
import pytest

from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.graph.views import raw_view
from ggmlrpc_core.ops import compute, run_node


def view(t):
    return raw_view(t, t.buffer)


def test_compute_writes_nothing(bench):
    a = bench.leaf("F32", 4)
    before = a.buffer.copy()
    node = bench.node("SCALE", "F32", a.ne, a, params={0: 2.0}, buffer=a.buffer)
    value = compute(np, node, view)
    assert np.array_equal(a.buffer, before)
    assert np.array_equal(value, bench.numbers(a) * 2)
    run_node(np, node, view)
    assert np.array_equal(bench.numbers(a), value)


def test_absent_sources_are_none(bench):
    a = bench.leaf("F32", 4, 2)
    node = bench.node("SOFT_MAX", "F32", a.ne, a, None, params={0: 1.0})
    run_node(np, node, view)
    assert np.allclose(bench.numbers(node).sum(axis=-1), 1.0)


def test_sources_beyond_the_declared_ones_are_ignored(bench):
    a = bench.leaf("F32", 4)
    node = bench.node("SQR", "F32", a.ne, a, a, a)
    assert np.array_equal(
        bench.run(node).astype(np.float32), bench.numbers(a).astype(np.float32) ** 2
    )


def test_overflow_is_a_result_and_not_a_warning(bench):
    a = bench.leaf("F32", 3, data=[1e30, -1.0, 0.0])
    node = bench.node("SQR", "F32", a.ne, a)
    assert bench.run(node).ravel().tolist() == [np.inf, 1.0, 0.0]
    assert np.isnan(bench.run(bench.node("LOG", "F32", a.ne, a)).ravel()[1])
    half = bench.node("CPY", "F16", a.ne, a)
    assert bench.run(half).ravel().tolist() == [np.inf, -1.0, 0.0]


def test_unknown_ops_are_unsupported(bench):
    node = bench.node("ADD", "F32", (1,))
    node.op = "FUSED_RMS_NORM"
    with pytest.raises(UnsupportedOp) as caught:
        compute(np, node, view)
    assert str(caught.value) == (
        "FUSED_RMS_NORM: op is FUSED_RMS_NORM, expected an op that can be computed [node 'y']"
    )


def test_the_same_node_twice_gives_the_same_bits(bench):
    a, b = bench.leaf("Q4_0", 256, 40), bench.leaf("F32", 256, 7)
    node = bench.node("MUL_MAT", "F32", (40, 7), a, b)
    first = compute(np, node, view)
    assert np.array_equal(first.view(np.uint32), compute(np, node, view).view(np.uint32))
