"""Raw arrays to numbers and back."""

from types import SimpleNamespace

import numpy as np
import pytest

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.ops import values


def test_the_wide_type_is_double_where_there_is_one():
    assert values.wide(np) is np.float64
    other = SimpleNamespace(__name__="mlx.core", float32="single", float64="double on some devices")
    assert values.wide(other) == "single"


def test_f32_is_not_copied(bench):
    a = bench.leaf("F32", 3)
    raw = a.buffer.view(np.float32)
    assert values.floats(np, raw, a) is raw


@pytest.mark.parametrize("type", ["F16", "BF16", "I8", "I16", "I32", "I64", "F64", "Q8_0"])
def test_a_round_trip_of_whole_numbers(bench, type):
    a = bench.tensor(type, 32)
    numbers = np.arange(-16, 16, dtype=np.float32).reshape(a.shape)
    numbers[..., 0] = -127 if type == "Q8_0" else numbers[..., 0]
    raw = values.encode(np, numbers, TYPES[type])
    decoded = values.floats(np, raw, a)
    assert decoded.dtype == np.float32
    assert np.allclose(decoded, numbers, atol=1e-3)


def test_raw_values_are_not_encoded_again():
    for type, dtype in (("BF16", np.uint16), ("Q4_0", np.uint8), ("I8", np.int8)):
        raw = np.arange(18).astype(dtype)
        assert values.encode(np, raw, TYPES[type]) is raw


def test_raw_shape(bench):
    assert values.raw_shape(bench.tensor("Q4_0", 64, 3, 2)) == (1, 2, 3, 36)
    assert values.raw_shape(bench.tensor("BF16", 64, 3, 2)) == (1, 2, 3, 64)


def test_wide_sum_keeps_the_axis():
    x = np.array([[1e8, 1.0, -1e8]], np.float32)
    total = values.wide_sum(np, x, -1)
    assert total.tolist() == [[1.0]]
    assert total.dtype == np.float64


def test_a_missing_source_is_a_fault_of_the_caller():
    with pytest.raises(AssertionError):
        values.present(None)


def test_to_host():
    array = np.arange(3)
    assert values.to_host(np, array) is array
    elsewhere = SimpleNamespace(get=lambda: array)
    assert values.to_host(SimpleNamespace(), elsewhere) is array
