import numpy as np
import pytest

from ggmlrpc_core.quants import dequantize
from ggmlrpc_core.quants.k import bit_planes, q3_scales, q4_scales

ONE = [0x00, 0x3C]


def test_q3_scales():
    packed = np.zeros((1, 12), np.uint8)
    packed[0, 1], packed[0, 3] = 0xA5, 0x70
    packed[0, 8 + 1] = 0b11_10_01_00
    scales = q3_scales(np, packed)[0]
    assert {i: int(s) for i, s in enumerate(scales) if s} == {
        1: 5, 5: 16, 9: 10 + 32, 13: 48, 11: 7,
    }  # fmt: skip


def test_q4_scales():
    packed = np.zeros((1, 12), np.uint8)
    packed[0, 0], packed[0, 4 + 2], packed[0, 8 + 0] = 0b10_111111, 0b01_000011, 0x9A
    s, m = q4_scales(np, packed)
    assert s.tolist() == [[63, 0, 0, 0, 0xA + 32, 0, 0, 0]]
    assert m.tolist() == [[0, 0, 3, 0, 9, 0, 16, 0]]


def test_bit_planes():
    packed = np.zeros((1, 32), np.uint8)
    packed[0, 3] = 0b1000_0010
    assert np.flatnonzero(bit_planes(np, packed)).tolist() == [32 + 3, 7 * 32 + 3]


@pytest.mark.parametrize(
    ("name", "type_size", "fields", "element", "value"),
    [
        # scale 3 and min 2 of group 9, quant 2 of element 145 (128 + 17)
        ("Q2_K", 84, {16 + 32 + 17: 0b10, 9: 0x23, 80: ONE, 82: ONE}, 145, 3 * 2 - 2),
        # scale 32 + 2 of group 0, high bit set: q = 1
        ("Q3_K", 110, {32: 0b01, 0: 1, 96: 2, 104: 0b10, 108: ONE}, 0, 2 * (4 + 1 - 4)),
        ("Q4_K", 144, {0: ONE, 2: ONE, 4: 5, 8: 1, 16 + 7: 0x09}, 7, 5 * 9 - 1),
        ("Q5_K", 176, {0: ONE, 4 + 1: 5, 16 + 7: 0b10, 48 + 7: 0x90}, 32 + 7, 5 * (16 + 9)),
        (
            "Q6_K",
            210,
            {64 + 3: 0x70, 128 + 32 + 3: 0b110000, 192 + 8 + 4: 255, 208: ONE},
            128 + 67,
            -(48 + 7 - 32),
        ),
        ("Q8_K", 292, {0: [0, 0, 0, 0x40], 4 + 200: 0xFD}, 200, 2 * -3),
    ],
)
def test_layout(name, type_size, fields, element, value):
    block = np.zeros((1, type_size), np.uint8)
    for start, content in fields.items():
        content = np.atleast_1d(np.array(content, np.uint8))
        block[0, start : start + len(content)] = content
    assert dequantize(np, block, name)[0, element] == value
