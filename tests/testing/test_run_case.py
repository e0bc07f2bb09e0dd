"""Running one case: what fails it."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.inputs import EXACT, Case
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import (
    POISON,
    CaseFailed,
    Loaded,
    expected_of,
    read,
    run_case,
    write,
)


def test_a_case_within_and_beyond_its_bound():
    device = ReferenceDevice()
    case = Case("SCALE/x", lambda b: b.scale(b.rand("F32", 100), 2.0), 1e-6)
    want = expected_of(case)
    assert run_case(case, device) == 0.0
    assert 1e-9 < run_case(case, device, want=[want[0] * np.float32(1.0001)]) < 1e-7
    with pytest.raises(CaseFailed, match=r"nmse of <SCALE .* is 8\.1e-05, expected at most 1e-06"):
        run_case(case, device, want=[want[0] / np.float32(0.99 + 1e-3)])
    assert device.memory()[0] == device.memory()[1]


def test_the_order_of_top_k_does_not_count():
    case = all_cases()["TOP_K/F32"]
    want = expected_of(case)
    assert run_case(case, ReferenceDevice(), want=[want[0][..., ::-1]]) == 0.0
    with pytest.raises(CaseFailed):
        run_case(case, ReferenceDevice(), want=[want[0] + 1])


def test_only_results_and_their_roots_may_be_written():
    device = ReferenceDevice()
    case = Case("ADD/x", lambda b: b.add(b.rand("F32", 8), b.rand("F32", 8), inplace=True), EXACT)
    loaded = Loaded(case, device)
    assert loaded.bytes()[64:].tolist() == [POISON] * (loaded.buffer.size - 64)
    assert loaded.written().tolist() == [True] * 32 + [False] * (loaded.buffer.size - 32)


def test_write_and_read_move_all_bytes():
    buffer = ReferenceDevice().alloc(10)
    write(buffer, 3, b"abcde")
    assert read(buffer, 2, 7) == b"\0abcde\0"
