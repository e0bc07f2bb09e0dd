"""Compiled rows of every type against the reference decoders, bit for bit, on arbitrary bytes."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from ggmlrpc_cpu.compile import Kernels
from ggmlrpc_cpu.families.mul_mat import CODES, TILES
from ggmlrpc_cpu.kernels import dequantize
from ggmlrpc_cpu.kernels.blocks import PairFormat, find

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.views import RAW_DTYPE

FEW = ("Q5_1", "Q6_K", "IQ2_XXS")
GUARD = np.float32(7.25)


@pytest.mark.parametrize(
    "name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in dequantize.TYPES]
)
def test_rows_are_those_of_the_reference(name):
    ggml_type = TYPES[name]
    n = 5 * max(ggml_type.blck_size, 11)
    raw = np.random.default_rng(3).integers(0, 256, ggml_type.row_size(n), dtype=np.uint8)
    out = np.full(n + 16, GUARD)
    address = Kernels().load(f"to_f32:{name}")
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(address)(raw.ctypes.data, out.ctypes.data, n)
    with np.errstate(all="ignore"):
        expected = quants.to_f32(np, raw.view(RAW_DTYPE.get(name, np.uint8)), ggml_type)
    assert np.array_equal(out[:n], expected, equal_nan=True)
    assert np.array_equal(out[n:], np.full(16, GUARD)), "nothing beyond the row is written"


def test_every_type_that_mul_mat_takes_has_a_row_function():
    assert set(TILES) == set(dequantize.TYPES) == {t.name for t in TYPES.values() if t.dot}


@pytest.mark.parametrize("name", CODES)
def test_the_planner_knows_offset_and_sums_of_a_format(name):
    form = find(name)
    per_sum = 16 if not isinstance(form, PairFormat) and form.minimums and form.sub == 16 else 32
    assert CODES[name] == (form.offset, per_sum)
    assert form.type_size == TYPES[name].type_size
