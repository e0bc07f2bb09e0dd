"""Functions of MLX that are off, and their other forms."""

import numpy as np
import pytest
from ggmlrpc_metal.corrections import corrections

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build import GraphBuilder


def test_exp_up_to_the_largest_float(device):
    mx = device._mx
    b = GraphBuilder()
    (form,) = corrections(mx)
    x = np.array([-200.0, -1.0, 0.0, 87.9, 88.0, 88.3, 88.72, 88.8, np.inf, np.nan], np.float32)
    node = b.unary(b.new_tensor("F32", len(x)), "EXP")
    assert form.accepts(node) and not form.accepts(b.relu(node))
    assert node.i32(0) == NEWEST.unary["EXP"]
    with np.errstate(all="ignore"):
        want = np.exp(x.astype(np.float64)).astype(np.float32)
    got = np.array(form.compute(node, mx.array(x)))
    assert got == pytest.approx(want, rel=2e-6, nan_ok=True)
