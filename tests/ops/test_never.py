"""Ops that are declared and never computed."""

import numpy as np
import pytest

from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.ops import OPS, compute

POINTERS = ["MAP_CUSTOM1", "MAP_CUSTOM2", "MAP_CUSTOM3", "CUSTOM"]


@pytest.mark.parametrize("name", POINTERS)
def test_function_pointers_are_refused_by_name(bench, name):
    a = bench.leaf("F32", 4)
    node = bench.node(name, "F32", (4,), a, a, a, params={0: 0x41414141})
    assert bench.refusal(node) == (
        f"GRAPH_COMPUTE: op is {name}, expected an op that can be computed [{name} 'y']"
    )
    with pytest.raises(UnsupportedOp) as caught:
        compute(np, node, lambda t: None)
    assert (
        str(caught.value) == f"{name}: op is {name}, expected an op that can be computed [node 'y']"
    )


@pytest.mark.parametrize("name", ["NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"])
def test_views_pass_and_compute_nothing(bench, name):
    a = bench.leaf("F32", 4)
    bench.check(bench.node(name, "F32", (4,), a))
    assert OPS[name].compute is None
