"""The op cases as data: legal graphs over every op, and the measure of error."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build import message_order, node_order
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.graph.tensor import VIEW_OPS
from ggmlrpc_core.ops.validate import check_nodes
from ggmlrpc_core.testing.cases import all_cases, nmse

NOT_IN_CASES = {
    "MAP_CUSTOM1", "MAP_CUSTOM2", "MAP_CUSTOM3", "CUSTOM",  # never run for a peer
    "FLASH_ATTN_BACK",  # its public constructor ends the process
}  # fmt: skip


def test_every_op_has_a_case():
    seen = {n.op for case in all_cases().values() for n in node_order(*case.make()[1])}
    assert set(NEWEST.ops) - seen - VIEW_OPS == NOT_IN_CASES


def test_every_case_obeys_the_rules_of_its_ops():
    for case in all_cases().values():
        _, outputs = case.make()
        nodes = node_order(*outputs)
        tensors = message_order(nodes)
        row = {id(t): i for i, t in enumerate(tensors)}
        table = TensorTable.from_tensors(tensors)
        check_nodes(table, np.array([row[id(n)] for n in nodes]))


def test_every_case_is_about_the_op_in_its_name():
    for case in all_cases().values():
        assert case.op == "GRAPH" or case.op in {n.op for n in node_order(*case.make()[1])}


@pytest.mark.parametrize(
    ("got", "want", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 1.0], 0.5),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1e-30, 0.0], [0.0, 0.0], np.inf),
        ([np.inf, np.nan], [np.inf, np.nan], 0.0),
        ([-np.inf, 1.0], [np.inf, 1.0], np.inf),
        ([np.nan, 1.0], [1.0, 1.0], np.inf),
        ([3, 4], [3, 4], 0.0),
    ],
)
def test_nmse(got, want, error):
    assert nmse(np.array(got), np.array(want)) == error
