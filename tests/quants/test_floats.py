import numpy as np
import pytest

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.quants import from_f32, to_f32
from ggmlrpc_core.quants.floats import bf16_from_f32


def bits(*values):
    return np.array(values, np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("f32", "bf16"),
    [
        (0x3F800000, 0x3F80),
        (0x3F808000, 0x3F80),  # a tie goes to even
        (0x3F818000, 0x3F82),
        (0x3F808001, 0x3F81),
        (0x7F7FFFFF, 0x7F80),  # rounds up to infinity
        (0x00018000, 0x0002),  # subnormal
        (0xFF800000, 0xFF80),
        (0x7F800001, 0x7FC0),  # NaN becomes quiet, not infinity
        (0xFFA12345, 0xFFE1),  # and keeps sign and payload
    ],
)
def test_bf16_rounding(f32, bf16):
    assert bf16_from_f32(np, bits(f32)).tolist() == [bf16]


def test_bf16_values_are_exact():
    raw = np.arange(65536, dtype=np.uint16)
    values = to_f32(np, raw, TYPES["BF16"])
    np.testing.assert_array_equal(values.view(np.uint32), raw.astype(np.uint32) << 16)
    finite = np.isfinite(values)
    np.testing.assert_array_equal(from_f32(np, values, TYPES["BF16"])[finite], raw[finite])


def test_f16_rounds_to_even_and_overflows_to_infinity():
    x = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519, 65520, -1e30, 2**-25, 3 * 2**-26], np.float32)
    raw = from_f32(np, x, TYPES["F16"])
    assert raw.view(np.uint16).tolist() == [0x3C00, 0x3C02, 0x7BFF, 0x7C00, 0xFC00, 0, 1]


def test_f16_of_a_double_goes_through_float32():
    # Just above the tie of float16: float32 loses that.
    assert from_f32(np, np.array([1 + 2**-11 + 2**-40]), TYPES["F16"]).tolist() == [1]


@pytest.mark.parametrize("name", ["I8", "I16", "I32", "I64"])
def test_integers_truncate(name):
    raw = from_f32(np, np.array([1.9, -1.9, 100], np.float32), TYPES[name])
    assert (raw.tolist(), raw.dtype) == ([1, -1, 100], np.dtype(f"int{name[1:]}"))
    assert to_f32(np, raw, TYPES[name]).tolist() == [1, -1, 100]


def test_integers_pass_through_exactly():
    raw = from_f32(np, np.array([2**62 + 1, -7]), TYPES["I64"])
    assert raw.tolist() == [2**62 + 1, -7]


def test_f64():
    raw = from_f32(np, np.array([0.1], np.float32), TYPES["F64"])
    assert (raw.dtype, raw.tolist()) == (np.float64, [float(np.float32(0.1))])
    assert to_f32(np, np.array([1e300, 0.1]), TYPES["F64"]).tolist() == [
        np.inf,
        float(np.float32(0.1)),
    ]


def test_f32_is_not_copied():
    raw = np.zeros((2, 3), np.float32)
    assert to_f32(np, raw, TYPES["F32"]) is raw
