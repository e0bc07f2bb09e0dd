"""How near a result must come."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_conformance.ops.compare import distance

WANT = np.linspace(-1, 1, 4096).reshape(64, 64)


def test_equal_is_no_distance() -> None:
    found = distance(WANT, WANT)
    assert (found.nmse, found.row, found.largest, found.mask) == (0, 0, 0, "")


def test_one_wrong_element_hides_in_the_whole_and_shows_in_its_row() -> None:
    got = WANT.copy()
    got[63, 5] = -got[63, 5]
    found = distance(got, WANT)
    assert 0 < found.nmse < 5e-3
    assert found.row == pytest.approx(64 * found.nmse)
    assert found.largest > 1


def test_the_reference_is_the_denominator() -> None:
    """A result that is huge must not make its own error small."""
    assert distance(WANT * 1e6, WANT).nmse > 1e11


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_must_be_at_the_same_places(value) -> None:
    want = WANT.copy()
    want[3, 3] = value
    assert distance(want, want).nmse == 0
    assert "missing" in distance(WANT, want).mask
    assert "there" in distance(want, WANT).mask
    other = np.where(np.isfinite(want), want * 0.5 + 1, want)
    assert distance(other, want).nmse > 0.1  # a matched infinity does not hide the rest


def test_a_reference_of_zeros() -> None:
    zeros = np.zeros(8)
    assert distance(zeros + 1e-40, zeros).nmse == 0
    assert distance(zeros + 1e-3, zeros).nmse == np.inf


def test_another_shape() -> None:
    assert "shape" in distance(WANT[:2], WANT).mask
