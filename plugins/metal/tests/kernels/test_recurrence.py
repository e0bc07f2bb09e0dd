"""Recurrences by themselves; what they compute is tested in overrides/test_recurrent.py."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from emulation.metal import EmulatedMetal, RealMetal
from ggmlrpc_metal import kernels
from ggmlrpc_metal.kernels.recurrence import MAX_KEYS, SCANS

N_STATES, HEADS, DIM, KEYS = 3, 6, 5, 7


def selective(ids: list[int]) -> np.ndarray:
    """SSM_SCAN of two sequences, each of which starts from the state that an id names."""
    rng = np.random.default_rng(1)
    shapes = {
        "state": (N_STATES, HEADS, DIM, KEYS),
        "v": (2, 4, HEADS, DIM),
        "dt": (1, 2, 4, HEADS),
        "a": (1, 1, HEADS, 1),
        "b": (2, 4, 3, KEYS),
        "c": (2, 4, 3, KEYS),
    }
    arrays = {n: mx.array(rng.random(s).astype(np.float32)) for n, s in shapes.items()}
    arrays["ids"] = mx.array(np.array(ids, np.int32))
    return np.array(kernels.scan(mx, "selective", arrays))


def test_a_wrong_id_stays_inside_the_states(kernels_run: EmulatedMetal | RealMetal) -> None:
    """Ids are checked before; the kernel alone must not read elsewhere either."""
    np.testing.assert_array_equal(selective([-1, 1000]), selective([N_STATES - 1] * 2))


@pytest.mark.parametrize("name", list(SCANS))
def test_every_recurrence_has_a_state_and_what_is_brought_to_it(name: str) -> None:
    assert {"v", "state"} <= set(SCANS[name].inputs)
    assert "$" not in SCANS[name].body


def test_longest_rows_are_held_in_registers() -> None:
    assert MAX_KEYS % 32 == 0
