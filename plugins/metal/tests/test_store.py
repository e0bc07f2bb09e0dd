"""Writing elements into a flat array: as a range, as a box, or by number."""

import numpy as np
import pytest
from ggmlrpc_metal.store import assign, dense, element_numbers, window


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "is_box"),
    [
        ((2, 3), (3, 1), 4, True),  # a range
        ((2, 3), (6, 1), 8, True),  # rows of a table
        ((3, 2), (1, 6), 1, True),  # transposed
        ((2, 2, 2), (12, 6, 2), 1, True),  # every second element
        ((1, 1, 4), (0, 0, 6), 3, True),  # a column
        ((2, 2), (5, 1), 3, False),  # 24 is no multiple of 5
        ((2, 3), (4, 1), 2, False),  # rows that cross the edge of a box
    ],
)
def test_elements_come_where_numpy_puts_them(device, shape, strides, offset, is_box):
    mx = device._mx
    old = np.arange(24, dtype=np.float32)
    new = -np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    want = old.copy()
    want[element_numbers(shape, strides, offset)] = new.reshape(-1)
    before = mx.array(old)
    got = assign(mx, before, mx.array(new), strides, offset)
    assert got.tolist() == want.tolist()
    assert before.tolist() == old.tolist(), "the old value is not touched"
    assert dense(shape, strides) or (window(24, shape, strides, offset) is not None) == is_box


def test_overlapping_elements_are_no_box():
    assert window(24, (2, 3), (1, 1), 0) is None
    assert window(24, (2, 2), (0, 1), 0) is None
