import numpy as np
import pytest

from ggmlrpc_core.quants import dequantize
from ggmlrpc_core.quants.grids import codebook, even_signs

ONE = [0x00, 0x3C]


def decode(name, type_size, fields):
    block = np.zeros((1, type_size), np.uint8)
    for start, content in fields.items():
        content = np.atleast_1d(np.array(content, np.uint8))
        block[0, start : start + len(content)] = content
    return dequantize(np, block, name)[0]


def test_iq2_xxs():
    # Run 3: index 200 of group 1, sign index 5 of group 1, scale 9.
    word = np.array([5 << 7 | 9 << 28], "<u4").view(np.uint8)
    values = decode("IQ2_XXS", 66, {0: ONE, 2 + 24 + 1: 200, 2 + 24 + 4: word})
    expected = codebook("IQ2_XXS")[200] * even_signs()[5] * (0.5 + 9) / 4
    assert values[3 * 32 + 8 : 3 * 32 + 16].tolist() == expected.tolist()


@pytest.mark.parametrize(("group", "scale"), [(5, 3), (6, 12)])
def test_iq2_xs(group, scale):
    word = np.array([300 | 77 << 9], "<u2").view(np.uint8)
    values = decode("IQ2_XS", 74, {0: ONE, 2 + 2 * group: word, 66 + 1: 0xC3})
    expected = codebook("IQ2_XS")[300] * even_signs()[77] * (0.5 + scale) / 4
    assert values[8 * group : 8 * group + 8].tolist() == expected.tolist()


def test_iq2_s():
    values = decode(
        "IQ2_S", 82, {0: ONE, 2 + 6: 0x21, 34 + 6: 0b1, 66 + 1: 0b11_0000, 74 + 1: 0x70}
    )
    expected = codebook("IQ2_S")[0x321] * (0.5 + 7) / 4 * [-1, 1, 1, 1, 1, 1, 1, 1]
    assert values[48:56].tolist() == expected.tolist()


def test_iq3_xxs():
    word = np.array([3 << 21 | 2 << 28], "<u4").view(np.uint8)
    values = decode("IQ3_XXS", 98, {0: ONE, 2 + 8 + 6: [50, 60], 66 + 4: word})
    grid = np.concatenate([codebook("IQ3_XXS")[50], codebook("IQ3_XXS")[60]])
    expected = grid * even_signs()[3] * (0.5 + 2) / 2
    assert values[32 + 24 : 64].tolist() == expected.tolist()


def test_iq3_s():
    values = decode(
        "IQ3_S", 110, {0: ONE, 2 + 8 + 3: 0x11, 66 + 1: 0b1000, 74 + 4 + 1: 0x80, 106: 0x50}
    )
    expected = codebook("IQ3_S")[0x111].astype(int) * (1 + 2 * 5) * [1, 1, 1, -1]
    assert values[32 + 12 : 48].tolist() == expected.tolist()


@pytest.mark.parametrize(("top", "shift"), [(0, 0.125), (0x8000, -0.125)])
def test_iq1_s(top, shift):
    word = np.array([top | 6 << 12 | 5 << 6], "<u2").view(np.uint8)
    values = decode("IQ1_S", 50, {0: ONE, 2 + 4 + 2: 0x34, 34 + 2: word})
    expected = (codebook("IQ1_S")[0x534] + shift) * (2 * 6 + 1)
    assert values[32 + 16 : 32 + 24].tolist() == expected.tolist()


def test_iq1_m():
    # d is 1.0 = 0x3C00: its quarters end the four words. Run 1: scales in bits 6-11 of word 0.
    words = np.array([0x0000 | 4 << 9, 0x0000, 0xC000, 0x3000], "<u2").view(np.uint8)
    values = decode("IQ1_M", 56, {4 + 3: 0x12, 32 + 3: 0xD0, 48: words})
    expected = (codebook("IQ1_S")[0x512] - 0.125) * (2 * 4 + 1)
    assert values[32 + 24 : 64].tolist() == expected.tolist()
    assert (values[:16] == (codebook("IQ1_S")[[0, 0]].reshape(-1) + 0.125)).all()
