"""The search: every probe keeps its rules under every numbering, and this is what it tells apart."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.client.probes import (
    ANYWHERE,
    FUNCTIONS_ANYWHERE,
    ON_CPU,
    OPERANDS,
    Probe,
    best_split,
    equal,
    forbidden,
    op_of,
    reading,
)
from ggmlrpc_core.wire.dialects import dialect, dialect_names, fork_names, states_of

SEVERAL = [
    "none-B", "none-C", "none-D", "none-E", "2.0.0", "3.0.0", "3.6.0",
    "ik-2.0.1", "ik-3.5.1", "ik-3.5.2/10src", "ik-3.5.2/16src",
]  # fmt: skip


def splits(candidates, safe):
    """Every probe of the tree that the search walks, and the groups that are left."""
    split = best_split(tuple(candidates), safe)
    if split is None:
        return [], [[one.name.partition("@")[2] for one in candidates]]
    probes, left = [(split, tuple(candidates))], []
    for states, _, _ in split.groups:
        deeper, groups = splits(states, safe)
        probes += deeper
        left += groups
    return probes, left


def checked(label):
    states = states_of(label)
    if label == "none-C":
        return [one for one in states if one.lengths_checked is not False]
    return states


def test_every_label_with_several_states_is_here():
    labels = {dialect(name).label for name in (*dialect_names(), *fork_names())}
    assert {label for label in labels if len(states_of(label)) > 1} == set(SEVERAL)


@pytest.mark.parametrize("safe", [ON_CPU, ANYWHERE], ids=["cpu", "anywhere"])
@pytest.mark.parametrize("label", SEVERAL)
def test_every_numbering_reads_every_probe_as_a_safe_op(label, safe):
    probes, _ = splits(checked(label), safe)
    for split, candidates in probes:
        number = split.probe.number
        names = {op_of(one, number) for one in candidates}
        assert names <= safe & split.probe.operands.ops
        assert not any(forbidden(name) for name in names)
        assert "" not in names
        assert [s for states, _, _ in split.groups for s in states] != []
        assert {s for states, _, _ in split.groups for s in states} == set(candidates)
        for states, name, result in split.groups:
            if name.startswith("UNARY ") and safe is ANYWHERE:
                assert name.removeprefix("UNARY ") in FUNCTIONS_ANYWHERE
            assert split.fitting(result) == states
        assert split.fitting(split.groups[0][2] + 1000) == ()


def test_no_list_of_safe_ops_has_one_that_follows_addresses():
    every = {name for d in map(dialect, dialect_names()) for name in d.numbering.ops}
    assert {name for name in every if forbidden(name)} == {
        "CUSTOM", "MAP_UNARY", "MAP_BINARY", "MAP_CUSTOM1", "MAP_CUSTOM2", "MAP_CUSTOM3",
        "MAP_CUSTOM1_F32", "MAP_CUSTOM2_F32", "MAP_CUSTOM3_F32",
    }  # fmt: skip
    assert not any(forbidden(name) for name in ON_CPU | ANYWHERE)
    assert ANYWHERE < ON_CPU


CPU = {
    "none-B": [["2024-05-20", "2024-05-23"]],
    "none-C": [["2024-10-03", "2024-11-07"], ["2024-12-03"]],
    "none-D": [["2025-01-04", "2025-01-10"], ["2025-03-18"]],
    "none-E": [["2025-03-28", "2025-04-09"], ["2025-04-17"]],
    "2.0.0": [
        ["2025-04-25", "2025-05-23"], ["2025-05-21"], ["2025-06-18"], ["2025-06-27", "2025-06-29"],
        ["2025-06-30", "2025-07-03"], ["2025-08-05"], ["2025-08-14"], ["2025-08-22"],
        ["2025-09-04", "2025-10-02"],
    ],
    "3.0.0": [["2025-10-04", "2025-10-15"], ["2025-11-13"], ["2025-11-25"]],
    "3.6.0": [["2025-12-05", "2026-01-19"], ["2026-03-07"]],
}  # fmt: skip
ELSEWHERE = {
    "none-B": [["2024-05-20", "2024-05-23"]],
    "none-C": [["2024-10-03", "2024-11-07", "2024-12-03"]],
    "none-D": [["2025-01-04", "2025-01-10"], ["2025-03-18"]],
    "none-E": [["2025-03-28", "2025-04-09"], ["2025-04-17"]],
    "2.0.0": [
        [
            "2025-04-25", "2025-05-21", "2025-05-23", "2025-06-18",
            "2025-06-27", "2025-06-29", "2025-06-30", "2025-07-03",
        ],
        ["2025-08-05", "2025-08-14", "2025-08-22", "2025-09-04", "2025-10-02"],
    ],
    "3.0.0": [["2025-10-04", "2025-10-15"], ["2025-11-13", "2025-11-25"]],
    "3.6.0": [["2025-12-05", "2026-01-19", "2026-03-07"]],
}  # fmt: skip


@pytest.mark.parametrize(("safe", "expected"), [(ON_CPU, CPU), (ANYWHERE, ELSEWHERE)])
def test_what_is_told_apart(safe, expected):
    assert {label: splits(checked(label), safe)[1] for label in expected} == expected


def test_a_probe_is_a_node_over_its_operands():
    probe = Probe(7, (1, 2), next(o for o in OPERANDS if o.name == "two"))
    message = probe.message(dialect("none-B"), [100, 200, 300, 400], 9)
    assert message["data"].tolist() == [100, 200, 300]
    assert message["src"][0, :3].tolist() == [2, 3, 0]
    assert (message["op"].tolist(), message["op_params"][0, :3].tolist()) == ([7, 0, 0], [1, 2, 0])
    in_place = next(o for o in OPERANDS if o.in_place)
    assert (
        Probe(7, (), in_place).message(dialect("7.0.0"), [100, 200, 300, 400], 9)["data"][0] == 200
    )


def test_results_are_equal_within_what_backends_round():
    x = np.array([1.0, -2.0, -np.inf], np.float32)
    assert equal(x + np.float32(0.001), x)
    assert not equal(x + np.float32(0.1), x)
    assert not equal(np.array([1.0, -2.0, 0.0], np.float32), x)


def test_every_safe_op_runs_on_some_operands_and_leaves_its_result():
    """In the newest numbering; each was also run on stock servers of eight ages with the same results."""
    newest_state = dialect("7.0.0")
    ran = set()
    for name in ON_CPU:
        for operands in (o for o in OPERANDS if name in o.ops):
            number = newest_state.numbering.ops[name]
            params = (3,) if name == "UNARY" else operands.params
            if reading(Probe(number, params, operands), newest_state, ON_CPU) is not None:
                ran.add(name)
    assert ran == ON_CPU
