"""Every scored case is failed by at least one mutant server, and by none that is honest."""

from __future__ import annotations

import pytest
from conformance.mutants.mutants import MUTANTS
from conformance.mutants.trial import Trial, dialect_for, trial
from ggmlrpc_conformance.case import Case, Tier
from ggmlrpc_conformance.library import all_cases

SURVIVORS: frozenset[str] = frozenset()
"""Scored cases that no mutant fails. It stays empty: a case that cannot fail says nothing."""

FAST = {
    # case: (mutant that must fail it, one that must not)
    "wire.sanity": ("last byte wrong", "scaled results"),
    "wire.hello.answer": ("other version", "last byte wrong"),
    "wire.hello.twice": ("believes everything", "last byte wrong"),
    "wire.first.http": ("dies with faults", "scaled results"),
    "wire.answer.nothing-extra": ("eight bytes too many", "scaled results"),
    "cmd.get_alignment.answered": ("alignment 48", "no devices"),
    "cmd.buffer_clear.value-1": ("clears to zero", "alignment 48"),
    "cmd.set_tensor.offset-3-size-5": ("writes one byte further", "scaled results"),
    "cmd.copy_tensor.inside-a-buffer": ("copy says 1 and does nothing", "free does nothing"),
    "cmd.alloc_buffer.zeroed": ("dirty buffers", "scaled results"),
    "state.recompute.same-graph": ("recompute does nothing", "free does nothing"),
    "graph.two-nodes": ("nodes backwards", "free does nothing"),
    "bad.tensor.type.max.get_tensor": ("believes everything", "scaled results"),
    "bad.graph.custom.map_custom1": ("believes everything", "scaled results"),
    "op.mul_mat.q4_0-k256-m16-n1": ("one element wrong", "no devices"),
    "op.add.f32-permuted": ("writes behind results", "no devices"),
    "op.unary.exp-f32": ("scaled results", "no devices"),
    "op.diag_mask_inf.f32": ("zeros", "no devices"),
    "op.cpy.f32-to-f16": ("writes into sources", "no devices"),
    "conc.second-client": ("one at a time", "scaled results"),
    "fault.cut.set_tensor.half.closed": ("dies with clients", "scaled results"),
}
"""A few of each kind, for every run of the tests."""


@pytest.fixture(scope="module")
def one_trial():
    with trial() as started:
        yield started


def case_of(name: str) -> Case:
    return all_cases()[name]


@pytest.mark.parametrize("name", FAST)
def test_a_mutant_fails_it_and_others_do_not(one_trial: Trial, name: str) -> None:
    case = case_of(name)
    spoken = dialect_for(case)
    killer, harmless = FAST[name]
    assert one_trial.run(case, killer, spoken).verdict.bad
    for other in ("honest", harmless):
        result = one_trial.run(case, other, spoken)
        assert result.verdict.good, (other, result.expected, result.found)


def scored() -> list[Case]:
    return [case for case in all_cases().values() if case.scored]


@pytest.mark.slow
def test_the_list_of_survivors_is_empty(one_trial: Trial) -> None:
    survivors = {c.id for c in scored() if one_trial.killer(c, dialect_for(c)) is None}
    assert survivors == set(SURVIVORS)
    assert not SURVIVORS


@pytest.mark.slow
def test_an_honest_server_passes_every_case(one_trial: Trial) -> None:
    wrong = {}
    for case in scored():
        if case.tier is not Tier.FULL:
            result = one_trial.run(case, "honest", dialect_for(case))
            if not result.verdict.good:
                wrong[case.id] = (result.verdict, result.expected, result.found, result.reason)
    assert wrong == {}


@pytest.mark.slow
def test_every_mutant_fails_something(one_trial: Trial) -> None:
    """A mutant that fails nothing is no mutant, or shows a rule without a case."""
    harmless = []
    cheap = [c for c in scored() if c.area in ("wire", "cmd", "state", "graph", "leak", "op")]
    for name in MUTANTS:
        if not any(one_trial.run(c, name, dialect_for(c)).verdict.bad for c in cheap):
            harmless.append(name)
    assert harmless == []
