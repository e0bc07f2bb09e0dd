import numpy as np
import pytest

from ggmlrpc_core.quants import dequantize, quantize


@pytest.mark.parametrize("name", ["TQ1_0", "TQ2_0"])
def test_ternary_values_are_exact(name):
    x = np.random.default_rng(0).integers(-1, 2, (50, 256)).astype(np.float32) * np.float32(0.125)
    np.testing.assert_array_equal(dequantize(np, quantize(np, x, name), name), x)


@pytest.mark.parametrize("name", ["TQ1_0", "TQ2_0"])
def test_halves_round_away_from_zero(name):
    x = np.zeros((1, 256), np.float32)
    x[0, :5] = [2, 1, -1, 0.99, -0.99]
    assert dequantize(np, quantize(np, x, name), name)[0, :6].tolist() == [2, 2, -2, 0, 0, 0]


def test_every_base_three_byte_comes_back():
    # 243 numbers of five digits, in the 32 bytes of the first part.
    for start in range(0, 243, 32):
        numbers = (np.arange(start, start + 32) % 243)[None]
        digits = [numbers // 3**i % 3 - 1 for i in (4, 3, 2, 1, 0)]
        x = np.concatenate([*digits, np.ones((1, 96))], axis=1).astype(np.float32)
        block = quantize(np, x, "TQ1_0")
        assert block[0, :32].tolist() == [-(-int(v) * 256 // 243) for v in numbers[0]]
        np.testing.assert_array_equal(dequantize(np, block, "TQ1_0"), x)


def test_tq2_0_layout():
    block = np.zeros((1, 66), np.uint8)
    block[0, 64:] = [0x00, 0x3C]
    block[0, 32 + 5] = 0b11_10_01_00
    values = dequantize(np, block, "TQ2_0")[0]
    assert values[[128 + 5, 128 + 37, 128 + 69, 128 + 101]].tolist() == [-1, 0, 1, 2]
