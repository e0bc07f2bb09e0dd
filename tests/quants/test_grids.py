import subprocess
import sys

import numpy as np
import pytest

from ggmlrpc_core.quants import grids


@pytest.mark.parametrize(
    ("name", "shape", "values"),
    [
        ("IQ2_XXS", (256, 8), {8, 25, 43}),
        ("IQ2_XS", (512, 8), {8, 25, 43}),
        ("IQ2_S", (1024, 8), {8, 25, 43}),
        ("IQ3_XXS", (256, 4), {4, 12, 20, 28, 36, 44, 52, 62}),
        ("IQ3_S", (512, 4), {1, 3, 5, 7, 9, 11, 13, 15}),
        ("IQ1_S", (2048, 8), {-1, 0, 1}),
    ],
)
def test_codebooks_have_distinct_words_of_their_values(name, shape, values):
    grid = grids.codebook(name)
    assert (grid.shape, grid.dtype, set(grid.ravel().tolist())) == (shape, np.int8, values)
    assert len(np.unique(grid, axis=0)) == shape[0]


def test_even_signs():
    signs = grids.even_signs()
    assert signs.shape == (128, 8)
    assert (signs.prod(axis=1) == 1).all()
    assert signs[0b0000101].tolist() == [-1, 1, -1, 1, 1, 1, 1, 1]
    assert signs[0b0000001].tolist() == [-1, 1, 1, 1, 1, 1, 1, -1]


def test_bit_rows_start_with_the_lowest_bit():
    assert grids.bit_rows(0, 16)[0b10000010].tolist() == [0, 16, 0, 0, 0, 0, 0, 16]


def test_kvalue_pairs_have_the_low_half_first():
    assert grids.kvalue_pairs("MXFP4")[0x72].tolist() == [2, 12]
    assert grids.kvalue_pairs("IQ4_NL")[0xF0].tolist() == [-127, 113]


def test_nearest_kvalue_is_the_nearest_upper_of_two():
    values = grids.kvalues("IQ4_NL").astype(float)
    for i, index in enumerate(grids.nearest_kvalue()):
        miss = np.abs((i - 256) / 2 - values)
        assert index == np.flatnonzero(miss == miss.min())[-1]


def test_e8m0_halves():
    table = grids.e8m0_halves()
    assert table[[0, 1, 2, 128, 255]].tolist() == [2.0**-128, 2.0**-127, 2.0**-126, 1, 2.0**127]


def test_ue4m3_halves():
    table = grids.ue4m3_halves()
    assert table[[0, 1, 7, 8, 0x38, 0x39, 0x7E]].tolist() == [
        0, 2.0**-10, 7 * 2.0**-10, 2.0**-7, 0.5, 0.5625, 224,
    ]  # fmt: skip
    # 0x7F is NaN in the standard and 0 here; bit 7 does not change that rule.
    assert table[[0x7F, 0x80, 0xB8, 0xFF]].tolist() == [0, 0, 0.5, 240]


def test_log2_steps_are_where_the_rounded_logarithm_jumps():
    steps = grids.log2_steps()
    for exponent in (1, 100, 126, 127, 128, 130, 200, 254):
        step = int(steps[exponent])
        at = np.ldexp(1 + step / 2**23, exponent - 127)
        before = np.ldexp(1 + (step - 1) / 2**23, exponent - 127)
        assert np.float32(np.log2(at)) == exponent - 126
        assert np.float32(np.log2(before)) < exponent - 126


def test_gguf_is_not_imported_before_a_table_is_needed():
    code = "import sys, ggmlrpc_core.quants; sys.exit('gguf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
