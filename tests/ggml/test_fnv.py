"""FNV-1a by array passes against the byte loop and published vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggmlrpc_core.ggml import fnv
from ggmlrpc_core.ggml.fnv import fnv1a_64, fnv1a_64_plain


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        # http://www.isthe.com/chongo/src/fnv/test_fnv.c
        (b"", 0xCBF29CE484222325),
        (b"a", 0xAF63DC4C8601EC8C),
        (b"foobar", 0x85944171F73967E8),
    ],
)
def test_published_vectors(data, digest):
    assert fnv1a_64(data) == fnv1a_64_plain(data) == digest


@pytest.mark.parametrize(
    "size",
    [fnv._SMALL - 1, fnv._SMALL, fnv._SMALL + 1, 1003, fnv._BLOCK, fnv._BLOCK + 1, 3 * fnv._BLOCK // 2],
)  # fmt: skip
def test_sizes_around_the_blocks(size):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert fnv1a_64(data) == fnv1a_64_plain(data.tobytes())


@pytest.mark.parametrize("octet", [0, 1, 0x80, 0xFF])
def test_constant_bytes(octet):
    data = bytes([octet]) * 4096
    assert fnv1a_64(data) == fnv1a_64_plain(data)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.binary(min_size=256, max_size=700), st.integers(0, 2**64 - 1))
def test_any_bytes_from_any_state(data, state):
    assert fnv1a_64(data, state) == fnv1a_64_plain(data, state)


def test_a_hash_can_be_continued():
    data = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    assert fnv1a_64(data[1234:], fnv1a_64(data[:1234])) == fnv1a_64(data)


def test_takes_any_contiguous_buffer():
    data = bytes(range(256)) * 2
    expected = fnv1a_64_plain(data)
    for form in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert fnv1a_64(form) == expected
