import hashlib
import struct

import numpy as np
import pytest

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.recording.generate import (
    FLOATS,
    SCALES,
    Generated,
    generated_weight,
    unit_size,
    words,
)

MASK = (1 << 64) - 1


def plain_word(seed, i):
    """The definition in docs/reference/ggrec.md, one word at a time."""
    z = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "little")
    z = (z + (i + 1) * 0x9E3779B97F4A7C15) & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def whole(made, size, skip=0):
    return b"".join(made.pieces(size, skip=skip))


def test_words_are_those_of_the_definition():
    assert words("1/a", 5, 3).tolist() == [plain_word("1/a", i) for i in (5, 6, 7)]


def test_floats_are_those_of_the_definition():
    made = Generated("F32", "s", lo=-0.5, hi=1.5)
    expected = [-0.5 + 2.0 * (plain_word("s", i) >> 40) / 2**24 for i in range(4)]
    assert struct.unpack("<4f", whole(made, 16)) == tuple(np.float32(expected).tolist())


def test_the_streams_never_change():
    """Recordings hold seeds instead of bytes: another digest here breaks them all."""
    text = b"".join(whole(Generated(t, "1/w", lo=-1, hi=1), 999) for t in FLOATS)
    text += b"".join(whole(Generated(t, "1/w", exp=-7), 999) for t in SCALES)
    assert hashlib.blake2b(text, digest_size=8).hexdigest() == "b36a6f500dafb2fe"


@pytest.mark.parametrize("kind", [*FLOATS, *SCALES])
def test_any_slice_can_be_made_alone(kind):
    made = Generated(kind, "s", lo=-1, hi=1, exp=-3)
    data = whole(made, 1 << 19)
    assert len(data) == 1 << 19
    for skip, size in ((0, 1), (1, 0), (77, 1001), ((1 << 18) - 3, 9), (unit_size(kind), 300)):
        assert whole(made, size, skip) == data[skip : skip + size]


@pytest.mark.parametrize("kind", SCALES)
def test_blocks_are_valid_and_of_the_wanted_size(kind):
    made = generated_weight("1", "w", ggml_type=kind, ne0=256)
    data = np.frombuffer(whole(made, TYPES[kind].type_size * 2000), np.uint8)
    values = quants.to_f32(np, data.reshape(2000, -1), TYPES[kind]).astype(np.float64)
    assert np.isfinite(values).all()
    assert (
        0.5 < np.sqrt(np.square(values).mean()) * 16 < (2.1 if kind == "Q6_K" else 2)
    )  # its d cannot be smaller
    assert abs(values.mean()) * 16 < 0.5


def test_weights_of_a_model_differ_by_name_and_norms_are_around_one():
    one, other = (generated_weight("1", n, ggml_type="F32", ne0=64) for n in ("a", "b"))
    assert whole(one, 64) != whole(other, 64)
    norm = np.frombuffer(
        whole(generated_weight("1", "x_norm", ggml_type="F32", ne0=64), 4096), "<f4"
    )
    assert norm.min() >= 0.75 and norm.max() < 1.25
    assert generated_weight("1", "a", ggml_type="IQ2_XXS", ne0=256) is None
