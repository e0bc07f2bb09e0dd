"""A peer of another version in both directions, as in run.py: every cell is good, or says why it is not."""

from __future__ import annotations

import pytest
from interop.build_peers import Built
from interop.measure import ABSENT, BOUNDS, GOOD, PLACES, STAGE_CELLS, Result
from interop.results import as_result, run_peer

from ggmlrpc_core.wire.dialects import dialect


@pytest.fixture(scope="module")
def result(built: Built) -> Result:
    """What was measured of the peer, once for all tests here; kept for `run.py --kept`."""
    return as_result(run_peer(built, built.root.parent))


def test_its_headers_have_our_numbers(result: Result) -> None:
    assert result.numbers == []


@pytest.mark.parametrize("cell", [*STAGE_CELLS, *PLACES, "recomputes"])
def test_its_client_runs_a_model_through_our_server(
    built: Built, result: Result, cell: str
) -> None:
    commands = dialect(built.peer.dialect).by_name
    needs = {"two devices": "DEVICE_COUNT", "recomputes": "GRAPH_RECOMPUTE"}.get(cell)
    assert result.cells[cell] == (ABSENT if needs and needs not in commands else GOOD)


def test_our_server_needs_only_its_version(built: Built, result: Result) -> None:
    several = "@" in built.peer.dialect
    assert result.cells["by version"] == (GOOD if several else ABSENT)


@pytest.mark.parametrize("ggml_type", BOUNDS)
def test_its_logits_are_those_of_its_own_cpu(result: Result, ggml_type: str) -> None:
    errors = {k: v for k, v in result.nmse.items() if k.split()[0] == ggml_type}
    assert len(errors) == 2  # plain and flash attention
    assert max(errors.values()) <= BOUNDS[ggml_type]


def test_our_client_learns_what_its_server_speaks(result: Result) -> None:
    assert result.cells["learned"] == GOOD, result.chosen


def test_its_server_computes_graphs_of_our_client(result: Result) -> None:
    assert {name: why for name, why in result.graphs.items() if why} == {}
    assert "block of a model" in result.graphs
