"""The CPU device against the contract of every device."""

from __future__ import annotations

import pytest
from ggmlrpc_cpu.device import CpuDevice

from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.check_device import check_device


def test_contract_without_op_cases():
    report = check_device(lambda: CpuDevice(1, compile_mode="off"), cases=())
    assert report.n_checks > 10


@pytest.mark.slow
def test_every_op_case_with_every_kernel(monkeypatch):
    monkeypatch.setattr("ggmlrpc_cpu.plan.SOLO_COST", 0.0)
    report = check_device(lambda: CpuDevice(2, compile_mode="now"))
    assert report.n_cases == len(all_cases())
