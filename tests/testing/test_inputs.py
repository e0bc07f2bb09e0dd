"""Inputs of cases: seeded, of the right bytes, finite."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.testing.inputs import Case, Inputs, random_blocks


def test_the_same_name_gives_the_same_bytes():
    case = Case("ADD/x", lambda b: b.add(b.rand("F32", 8), b.rand("Q8_0", 32)), 0.0)
    other = Case("ADD/y", lambda b: b.add(b.rand("F32", 8), b.rand("F32", 8)), 0.0)
    with pytest.raises(Exception, match="expected divisors"):
        case.make()
    first, second = other.make()[0].data, other.make()[0].data
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, second))
    assert not np.array_equal(first[0][1], first[1][1])
    assert other.op == "ADD"


@pytest.mark.parametrize("name", ["IQ2_XXS", "IQ1_M", "IQ3_S"])
def test_random_blocks_are_finite_numbers(name):
    kind = TYPES[name]
    blocks = random_blocks(np.random.default_rng(0), name, 5)
    assert blocks.size == 5 * kind.type_size
    values = quants.to_f32(np, blocks.reshape(5, -1), kind)
    assert np.isfinite(values).all() and 0.1 < np.abs(values).max() < 10


def test_leafs_have_exactly_their_bytes():
    b = Inputs()
    b.rand("F16", 3, 2)
    b.ids(9, 4, 2, distinct=True)
    b.causal_mask(6, 2)
    assert [len(data) == t.nbytes for t, data in b.data] == [True] * 3
    ids = b.data[1][1].view(np.int32).reshape(2, 4)
    assert all(
        len(set(row)) == 4 and row.min() >= 0 and row.max() < 9 for row in ids.tolist() and ids
    )
    mask = b.data[2][1].view(np.float16).reshape(2, 6)
    assert np.isneginf(mask).sum(axis=1).tolist() == [1, 0]
