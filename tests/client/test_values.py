"""NumPy arrays to tensor bytes and back."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.client.values import from_bytes, to_bytes
from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.graph.build import GraphBuilder

B = GraphBuilder()


def test_own_dtype_goes_without_a_copy():
    t = B.new_tensor("F32", 4, 3)
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    data = to_bytes(t, values)
    assert bytes(data) == values.tobytes()
    values[0, 0] = 9
    assert bytes(data[:4]) == np.float32(9).tobytes()


@pytest.mark.parametrize(
    ("name", "error"), [("F16", 1e-3), ("BF16", 1e-2), ("Q8_0", 1e-2), ("I32", 0)]
)
def test_other_values_are_converted(name, error):
    t = B.new_tensor(name, 32, 2)
    values = np.linspace(-3, 3, 64) if name != "I32" else np.arange(64)
    back = from_bytes(t, np.frombuffer(to_bytes(t, values), np.uint8))
    assert back.shape == (1, 1, 2, 32)
    assert np.abs(back.reshape(-1) - values).max() <= 3 * error


def test_bytes_must_be_exactly_those_of_the_tensor():
    t = B.new_tensor("Q4_0", 32)
    assert bytes(to_bytes(t, bytes(range(18)))) == bytes(range(18))
    with pytest.raises(LocalProtocolError, match="data is 17 bytes, expected 18"):
        to_bytes(t, bytes(17))
    with pytest.raises(LocalProtocolError, match="data is 31 elements, expected 32"):
        to_bytes(t, np.zeros(31))


def test_a_strided_tensor_is_read_and_not_written():
    a = B.new_tensor("F32", 3, 2)
    t = B.transpose(a)
    data = np.arange(6, dtype=np.float32).view(np.uint8)
    assert from_bytes(t, data)[0, 0].tolist() == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(LocalProtocolError, match="contiguous"):
        to_bytes(t, np.zeros(6, np.float32))


def test_a_strided_array_is_made_contiguous():
    t = B.new_tensor("F32", 2, 3)
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.frombuffer(to_bytes(t, values), np.float32).tolist() == [0, 3, 1, 4, 2, 5]


def test_nothing_is_no_bytes():
    t = B.new_tensor("F32", 0, 3)
    assert bytes(to_bytes(t, np.zeros((3, 0), np.float32))) == b""
    assert from_bytes(t, np.zeros(0, np.uint8)).shape == (1, 1, 3, 0)
