"""The CPU device against the contract of every device."""

from __future__ import annotations

from contextlib import closing

import pytest
from ggmlrpc_cpu.device import CpuDevice

from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.check_device import check_device
from ggmlrpc_core.testing.run_case import CaseFailed, run_twice


def test_contract_without_op_cases():
    report = check_device(lambda: CpuDevice(1, compile_mode="off"), cases=())
    assert report.n_checks > 10


@pytest.mark.slow
def test_every_op_case_with_every_kernel(monkeypatch):
    monkeypatch.setattr("ggmlrpc_cpu.plan.SOLO_COST", 0.0)
    report = check_device(lambda: CpuDevice(2, compile_mode="now"))
    assert report.n_cases == len(all_cases())


def twice(device: CpuDevice) -> None:
    failures = []
    for name, case in all_cases().items():
        try:
            run_twice(case, device)
        except CaseFailed as exc:
            failures.append(f"{name}: {exc}")
    assert not failures, "\n".join(failures)


def test_the_same_graph_twice_gives_equal_bits_without_kernels():
    with closing(CpuDevice(1, compile_mode="off")) as device:
        twice(device)


@pytest.mark.slow
def test_the_same_graph_twice_gives_equal_bits_with_every_kernel(monkeypatch):
    monkeypatch.setattr("ggmlrpc_cpu.plan.SOLO_COST", 0.0)
    with closing(CpuDevice(2, compile_mode="now")) as device:
        twice(device)
