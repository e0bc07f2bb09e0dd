"""Every op case that an override computes, against the reference; the forms for a GPU run in the emulation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from emulation.metal import EmulatedMetal, RealMetal
from ggmlrpc_metal.override import find_override
from ggmlrpc_metal.overrides import ALL
from one_case import run

from ggmlrpc_core.testing.cases import Case, all_cases
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import Loaded

Metal = EmulatedMetal | RealMetal
OVERRIDDEN = {one.op for one in ALL}
CASES = [case for case in all_cases().values() if case.op in OVERRIDDEN]


@pytest.fixture(scope="module")
def ready(kernels_run: Metal) -> Iterator[Metal]:
    """Kernels of the cases, compiled together."""
    with kernels_run.gather():
        for case in CASES:
            run(case, gpu=True, judge=False)
    yield kernels_run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_the_cpu_backend(case: Case) -> None:
    run(case, gpu=False, judge=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_a_gpu(case: Case, ready: Metal) -> None:
    run(case, gpu=True, judge=True)


def test_every_form_is_reached() -> None:
    """A form that no case runs would be tested by nothing here."""
    found = {
        override
        for case in CASES
        for node in Loaded(case, ReferenceDevice()).graph.work
        for gpu in (False, True)
        if (override := find_override(ALL, node, gpu=gpu)) is not None
    }
    assert [one for one in ALL if one not in found] == []
