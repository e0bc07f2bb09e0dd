import numpy as np

from ggmlrpc_core.quants import dequantize, quantize
from ggmlrpc_core.quants.grids import kvalues

VALUES = kvalues("IQ4_NL").astype(np.float32)


def test_iq4_nl_keeps_what_it_can_hold():
    # The extreme is put at the first value of the table, so only blocks whose extreme is there fit exactly.
    x = np.concatenate([VALUES, VALUES[::-1]])[None] * np.float32(0.5)
    np.testing.assert_array_equal(dequantize(np, quantize(np, x, "IQ4_NL"), "IQ4_NL"), x)


def test_iq4_nl_layout():
    block = np.zeros((1, 18), np.uint8)
    block[0, 1], block[0, 2:] = 0x3C, 0x88
    block[0, 2 + 4] = 0xF0
    values = dequantize(np, block, "IQ4_NL")[0]
    assert (values[4], values[20], values[5]) == (-127, 113, 1)


def test_iq4_xs_scales():
    block = np.zeros((1, 136), np.uint8)
    block[0, 1] = 0x3C
    block[0, 2:4] = [0b00000010, 0b01000000]  # run 0: 32 and more, run 7: 16 and more
    block[0, 4], block[0, 7] = 0x05, 0x30
    block[0, 8:] = 0x88  # the value 1 everywhere
    values = dequantize(np, block, "IQ4_XS")[0].reshape(8, 32)
    assert values[:, 0].tolist() == [5, -32, -32, -32, -32, -32, -32, 16 + 3 - 32]
    assert (values == values[:, :1]).all()


def test_an_empty_block_is_all_zero_bytes_in_iq4_nl():
    assert not quantize(np, np.zeros((1, 32), np.float32), "IQ4_NL").any()


def test_iq4_nl_decides_just_below_a_border():
    borders = (VALUES[1:] + VALUES[:-1]) / 2
    below = np.nextafter(borders, np.float32(-np.inf))
    # The first value of the table is the extreme, so the scale is 1 and numbers are compared as they are.
    for numbers, first in ((borders, 1), (below, 0)):
        x = np.full((1, 32), VALUES[0], np.float32)
        x[0, : len(numbers)] = numbers
        block = quantize(np, x, "IQ4_NL")
        found = np.concatenate([block[0, 2:] & 15, block[0, 2:] >> 4])
        assert found[: len(numbers)].tolist() == list(range(first, len(numbers) + first))
