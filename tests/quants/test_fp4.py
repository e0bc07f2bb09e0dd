import numpy as np
import pytest

from ggmlrpc_core.quants import dequantize, quantize
from ggmlrpc_core.quants.grids import ue4m3_halves

VALUES = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


@pytest.mark.parametrize("scale", [2.0**-100, 0.25, 1, 2.0**60])
def test_mxfp4_keeps_what_it_can_hold(scale):
    x = (np.array([[*VALUES, *(-v for v in VALUES)] * 2]) * scale).astype(np.float32)
    np.testing.assert_array_equal(dequantize(np, quantize(np, x, "MXFP4"), "MXFP4"), x)


def test_mxfp4_layout():
    block = np.zeros((1, 17), np.uint8)
    block[0, 0], block[0, 1 + 3] = 128, 0xF1
    values = dequantize(np, block, "MXFP4")[0]
    assert (values[3], values[19], np.count_nonzero(values)) == (1, -12, 2)


@pytest.mark.parametrize(
    ("greatest", "exponent"),
    [(8, 128), (np.nextafter(np.float32(8), np.float32(0)), 128), (7.9, 127), (4, 127), (0, 0)],
)
def test_mxfp4_scale_follows_the_rounded_logarithm(greatest, exponent):
    # The float32 logarithm of the number below 8 is 3.
    x = np.zeros((1, 32), np.float32)
    x[0, 5] = -greatest
    assert quantize(np, x, "MXFP4")[0, 0] == exponent


def test_ties_go_to_the_smaller_size():
    x = np.array([[6, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.25, -5] + [0] * 22], np.float32)
    again = dequantize(np, quantize(np, x, "MXFP4"), "MXFP4")[0, :10]
    assert again.tolist() == [6, 0, 0.5, 1, 1.5, 2, 3, 4, 0, -4]


def test_nvfp4_layout_and_scales():
    block = np.zeros((1, 36), np.uint8)
    block[0, 2], block[0, 4 + 2 * 8 + 1] = 0x38, 0x57  # run 2 has scale 1: 6 low, 3 high
    values = dequantize(np, block, "NVFP4")[0]
    assert (values[32 + 1], values[32 + 9], np.count_nonzero(values)) == (6, 3, 2)


def test_nvfp4_scale_codes_round_half_up():
    rng = np.random.default_rng(0)
    peaks = np.concatenate(
        [10.0 ** rng.uniform(-4, 4, 500), [2688, 2689, 1e9, 6 * 448, 6 * 2.0**-10]]
    )
    x = np.zeros((len(peaks), 64), np.float32)
    x[:, 0] = peaks
    codes = quantize(np, x, "NVFP4")[:, 0]
    target = x[:, 0] / np.float32(6)
    scale = 2.0 * ue4m3_halves()[:0x7F]
    for code, wanted in zip(codes, target, strict=True):
        # Below the first normal scale only subnormal codes are tried.
        miss = np.abs(scale[: 8 if wanted < 2.0**-6 else None] - wanted)
        if wanted >= 256:
            # Everything from 2**8 on takes the greatest code, which is not always the nearest.
            assert code == 0x7E
        elif code != 0x7E:
            assert miss[code] == miss.min()


def test_nvfp4_of_tiny_numbers_is_zero():
    x = np.full((1, 64), 1e-5, np.float32)
    assert not quantize(np, x, "NVFP4").any()
