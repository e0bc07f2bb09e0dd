"""Which weights a kernel may read where they lie, and the tiles of those that are decoded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ggmlrpc_metal.overrides import weights
from ggmlrpc_metal.overrides.weights import readable_in_place, row_tiles

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import Tensor, contiguous_nb


def weight(name: str, *ne: int) -> Tensor:
    """A weight without gaps."""
    kind = TYPES[name]
    full = (ne[0], ne[1], 1, 1)
    return Tensor(id=1, type=kind, ne=full, nb=contiguous_nb(kind, full))


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q4_0", "Q6_K", "IQ1_M", "MXFP4"])
def test_rows_without_gaps_are_read_in_place(name: str) -> None:
    assert readable_in_place(weight(name, 256, 3))
    assert readable_in_place(replace(weight(name, 256, 3), offset=2 * TYPES[name].type_size))


def test_rows_with_gaps_between_elements_are_not() -> None:
    tensor = weight("F16", 16, 4)
    assert not readable_in_place(replace(tensor, nb=(32, 2, 128, 128)))


def test_blocks_at_odd_addresses_are_read_only_by_bytes() -> None:
    assert not readable_in_place(replace(weight("Q4_0", 64, 3), offset=1))
    assert not readable_in_place(replace(weight("Q4_0", 64, 3), nb=(18, 37, 111, 111)))
    assert readable_in_place(replace(weight("MXFP4", 64, 3), offset=1))


def test_types_that_are_no_weights_are_not() -> None:
    assert not readable_in_place(weight("I32", 16, 4))
    assert not readable_in_place(weight("Q8_K", 256, 4))


def test_what_comes_in_constant_memory_is_not() -> None:
    assert not readable_in_place(weight("F32", 7, 1))
    assert readable_in_place(weight("F32", 8, 1))


def test_tiles_cover_all_rows_and_stay_under_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "TILE_BYTES", 4 * 10 * 64 * 2)
    raw = np.zeros((1, 2, 25, 64), np.uint8)
    assert list(row_tiles(raw, 64)) == [slice(0, 10), slice(10, 20), slice(20, 25)]
    assert list(row_tiles(raw, 10**6)) == [slice(i, i + 1) for i in range(25)]
