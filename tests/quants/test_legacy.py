import numpy as np
import pytest

from ggmlrpc_core.quants import dequantize, quantize

HALF = np.array([0.5], "<f2").view(np.uint8).tolist()
TWO = np.array([2], "<f2").view(np.uint8).tolist()


@pytest.mark.parametrize(
    ("name", "type_size", "fields", "values"),
    [
        ("Q4_0", 18, {0: HALF, 2 + 5: 0xF1}, {5: (1 - 8) / 2, 21: (15 - 8) / 2, 0: -4}),
        ("Q4_1", 20, {0: HALF, 2: TWO, 4 + 5: 0xF1}, {5: 2.5, 21: 9.5, 0: 2}),
        ("Q5_0", 22, {0: HALF, 2: 0x20, 4: 0x20, 6 + 5: 0xF1}, {5: 0.5, 21: 7.5, 0: -8}),
        ("Q5_1", 24, {0: HALF, 2: TWO, 6: 0x20, 8 + 5: 0xF1}, {5: 2.5, 21: 2 + 31 / 2, 0: 2}),
        ("Q8_0", 34, {0: HALF, 2 + 31: 0x80}, {31: -64, 0: 0}),
        ("Q8_1", 36, {0: HALF, 2: TWO, 4 + 31: 0x7F}, {31: 63.5, 0: 0}),
        ("Q1_0", 18, {0: HALF, 2 + 1: 0b100}, {10: 0.5, 9: -0.5, 127: -0.5}),
        ("Q2_0", 18, {0: HALF, 2 + 1: 0b11100100}, {4: -0.5, 5: 0, 6: 0.5, 7: 1, 8: -0.5}),
    ],
)
def test_layout(name, type_size, fields, values):
    block = np.zeros((1, type_size), np.uint8)
    for start, content in fields.items():
        content = np.atleast_1d(np.array(content, np.uint8))
        block[0, start : start + len(content)] = content
    decoded = dequantize(np, block, name)[0]
    assert {i: float(decoded[i]) for i in values} == values


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0"])
def test_the_extreme_becomes_quant_zero(name):
    x = np.zeros((2, 32), np.float32)
    x[0, 3], x[1, 3] = 8, -8
    again = dequantize(np, quantize(np, x, name), name)
    np.testing.assert_array_equal(again, x)


@pytest.mark.parametrize(("name", "top"), [("Q4_1", 15), ("Q5_1", 31)])
def test_a_ladder_fits_exactly(name, top):
    x = np.minimum(np.arange(32), top).astype(np.float32)[None] - 3
    np.testing.assert_array_equal(dequantize(np, quantize(np, x, name), name), x)


def test_q8_rounds_halves_away_from_zero():
    x = np.zeros((1, 32), np.float32)
    x[0, :5] = [127, 0.5, -0.5, 2.5, -2.5]
    for name, start in (("Q8_0", 2), ("Q8_1", 4)):
        quants = quantize(np, x, name)[:, start:].view(np.int8)
        assert quants[0, :6].tolist() == [127, 1, -1, 3, -3, 0]


def test_q8_1_sum():
    x = np.arange(32, dtype=np.float32)[None]
    block = quantize(np, x, "Q8_1")
    d, s = block[0, :4].copy().view(np.float16).astype(np.float32)
    assert s == pytest.approx(block[0, 4:].view(np.int8).sum() * d, rel=1e-3)


def test_q1_0_is_the_mean_size_with_signs():
    x = np.array([[1, -3] * 64], np.float32)
    again = dequantize(np, quantize(np, x, "Q1_0"), "Q1_0")
    np.testing.assert_array_equal(again, np.sign(x) * 2)


def test_signed_zeros_keep_the_sign_that_the_stock_library_gives_the_scale():
    x = np.full((1, 32), -0.0, np.float32)
    assert quantize(np, x, "Q4_0")[0, :2].tolist() == [0, 0x80]  # 0 / -8
    assert quantize(np, x, "Q4_1")[0, :4].tolist() == [0, 0, 0, 0x80]
