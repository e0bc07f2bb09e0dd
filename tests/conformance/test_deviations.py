"""The lists of known deviations that come with the suite."""

from importlib import resources

import pytest
from ggmlrpc_conformance.clauses import clauses
from ggmlrpc_conformance.known import read_known, stale
from ggmlrpc_conformance.library import all_cases

FOLDER = resources.files("ggmlrpc_conformance").joinpath("deviations")
NAMES = sorted(f.name.removesuffix(".toml") for f in FOLDER.iterdir() if f.name.endswith(".toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_list_names_cases_that_exist_and_clauses_that_say_why(name):
    blocks = read_known(name)
    assert stale(blocks, all_cases()) == []
    for block in blocks:
        clause, _, reason = block.reason.partition(": ")
        assert clause in clauses()
        assert reason
        assert block.link == "" or block.link.startswith("https://")
        assert not any(verdict.good for verdict in block.verdicts)


def test_no_list_excuses_a_must_but_for_results_of_an_op():
    """What clients depend on cannot be a deviation of a stock server. An op that none of them used can be wrong."""
    cases = all_cases()
    for name in NAMES:
        for block in read_known(name):
            musts = [i for i in block.ids if i in cases and cases[i].level == "MUST"]
            assert musts == [] or block.reason.startswith("OP-")
