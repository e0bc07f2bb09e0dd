import numpy as np
import pytest

from ggmlrpc_core.quants import dequantize, quantize


@pytest.mark.parametrize("name", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"])
def test_blocks_do_not_depend_on_each_other(name):
    x = np.random.default_rng(0).standard_normal((5, 256), np.float32)
    together = quantize(np, x, name)
    for i in range(5):
        np.testing.assert_array_equal(quantize(np, x[i : i + 1], name)[0], together[i])


@pytest.mark.parametrize("name", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"])
def test_zeros_come_back_as_zeros(name):
    blocks = quantize(np, np.zeros((2, 256), np.float32), name)
    assert not dequantize(np, blocks, name).any()


def test_q8_k_sums():
    x = np.random.default_rng(1).standard_normal((3, 256), np.float32)
    blocks = quantize(np, x, "Q8_K")
    quants = blocks[:, 4:260].view(np.int8).astype(int)
    np.testing.assert_array_equal(
        blocks[:, 260:].copy().view("<i2"), quants.reshape(3, 16, 16).sum(axis=2)
    )
    assert np.abs(quants).max() == 127


@pytest.mark.parametrize(("name", "top"), [("Q2_K", 3), ("Q4_K", 15), ("Q5_K", 31)])
def test_a_ladder_fits_exactly(name, top):
    x = (np.arange(256) % (top + 1)).astype(np.float32)
    blocks = quantize(np, x[None], name)
    np.testing.assert_allclose(dequantize(np, blocks, name)[0], x, atol=top * 2e-3)
