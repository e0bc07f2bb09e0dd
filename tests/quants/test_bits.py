import math

import numpy as np
import pytest

from ggmlrpc_core.quants import bits

TIES = np.array(
    [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, -0.49999997, 0, 7.2, -7.8], np.float32
)


def test_nearest_int_takes_ties_to_even():
    assert bits.nearest_int(np, TIES).tolist() == [0, 2, 2, 0, -2, -2, 0, 0, 0, 7, -8]


def test_nearest_int_of_everything_in_its_range():
    x = np.linspace(-4194303, 4194303, 9999, dtype=np.float32)
    np.testing.assert_array_equal(bits.nearest_int(np, x), np.rint(x))


def test_nearest_int_outside_its_range_is_like_the_stock_one():
    x = np.array([np.nan, np.inf, -np.inf, 4194304], np.float32)
    assert bits.nearest_int(np, x).tolist() == [0, -4194304, -4194304, -4194304]


def test_round_away():
    assert bits.round_away(np, TIES).tolist() == [1, 2, 3, -1, -2, -3, 0, 0, 0, 7, -8]


def test_nibbles_and_crumbs_put_low_bits_first():
    packed = np.array([[[0x21, 0x43], [0x65, 0x87]]], np.uint8)
    assert bits.nibbles(np, packed).tolist() == [[1, 3, 2, 4, 5, 7, 6, 8]]
    packed = np.array([[[0b11100100], [0b00011011]]], np.uint8)
    assert bits.crumbs(np, packed).tolist() == [[0, 1, 2, 3, 3, 2, 1, 0]]


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize(("width", "split"), [(4, bits.nibbles), (2, bits.crumbs)])
def test_pack_undoes_the_split(groups, width, split):
    packed = np.random.default_rng(0).integers(0, 256, (5, groups, 16), dtype=np.uint8)
    q = split(np, packed)
    np.testing.assert_array_equal(
        bits.pack(np, q, groups=groups, bits=width), packed.reshape(5, -1)
    )


def test_pack_single_bits():
    q = np.zeros((1, 16), np.uint8)
    q[0, 3] = q[0, 8] = 1
    assert bits.pack(np, q, groups=2, bits=1).tolist() == [[8, 1]]
    assert bits.pack(np, q, groups=1, bits=1).tolist() == [[1 << 4, 1 << 1]]


@pytest.mark.parametrize("width", [2, 4, 8])
def test_byte_table(width):
    table = np.arange(16 * width, dtype=np.int8).reshape(16, width)
    index = np.array([[3, 15], [0, 7]])
    expected = table[index].reshape(2, -1)
    np.testing.assert_array_equal(bits.byte_table(np, table, index), expected)


def test_extreme_keeps_the_sign_of_the_first():
    x = np.array([[1, -3, 3], [2, 5, -5], [-0.5, 0.25, 0]], np.float32)
    assert bits.extreme(np, x, 1).tolist() == [[-3], [5], [-0.5]]
    assert bits.extreme(np, x, 0).tolist() == [[2, 5, -5]]


def test_ordered_sum_adds_one_after_the_other():
    rows = np.random.default_rng(1).standard_normal((64, 3), np.float32)
    expected = [np.float32(0)] * 3
    for row in rows:
        expected = [np.float32(a + b) for a, b in zip(expected, row, strict=True)]
    assert bits.ordered_sum(rows).tolist() == expected


def test_inverse_of_zero_is_zero():
    with np.errstate(divide="ignore"):
        assert bits.inverse(np, np.array([0, -0.0, 4], np.float32)).tolist() == [0, 0, 0.25]


def test_f32_rounds_to_single():
    assert bits.f32(0.1) == float(np.float32(0.1)) != 0.1
    assert math.isclose(bits.f32(0.1), 0.1, rel_tol=1e-7)


def test_half_and_field_read_little_endian():
    blocks = np.array([[9, 0x00, 0x3C, 0xFF, 0x80], [9, 0x00, 0xC0, 0x01, 0x7F]], np.uint8)
    assert bits.half(np, blocks, 1).tolist() == [[1], [-2]]
    assert bits.field(np, blocks, 3, 5, np.int8).tolist() == [[-1, -128], [1, 127]]
    assert bits.field(np, blocks, 3, 5, np.uint16).tolist() == [[0x80FF], [0x7F01]]
