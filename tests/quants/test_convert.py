from pathlib import Path

import gguf
import numpy as np
import pytest

from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.views import RAW_DTYPE
from ggmlrpc_core.quants import convert, dequantize, from_f32, quantize, to_f32

VECTORS = np.load(Path(__file__).with_name("vectors.npz"))
BLOCKS = [t for t in TYPES.values() if t.quantized]
PLAIN = [t for t in TYPES.values() if not t.quantized]
ENCODABLE = [t for t in BLOCKS if t.from_f32]
DECODED_BY_LIBRARY = [t for t in BLOCKS if t.name != "Q8_1"]
DECODED_BY_GGUF = [t for t in BLOCKS if hasattr(gguf.quants, t.name)]


def random_raw(ggml_type, shape, seed=3):
    """A raw array of any bytes; `shape` is of elements, NumPy order."""
    rng = np.random.default_rng(seed)
    dtype = RAW_DTYPE.get(ggml_type.name, np.dtype(np.uint8))
    nbytes = ggml_type.row_size(shape[-1])
    return rng.integers(0, 256, (*shape[:-1], nbytes), dtype=np.uint8).view(dtype)


def same(a, b):
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    np.testing.assert_array_equal(a, b)


def test_every_block_type_has_its_functions():
    assert sorted(convert.FORMATS) == sorted(t.name for t in BLOCKS)
    able = {name for name, known in convert.FORMATS.items() if known.quantize}
    assert able == {t.name for t in ENCODABLE}


@pytest.mark.parametrize("ggml_type", DECODED_BY_LIBRARY, ids=str)
def test_decodes_as_the_stock_library(ggml_type):
    values = dequantize(np, VECTORS[f"{ggml_type}.raw"], ggml_type.name)
    same(values, VECTORS[f"{ggml_type}.values"])


@pytest.mark.parametrize("ggml_type", ENCODABLE, ids=str)
def test_encodes_as_the_stock_library(ggml_type):
    x = VECTORS["x"].reshape(-1, ggml_type.blck_size)
    same(quantize(np, x, ggml_type.name), VECTORS[f"{ggml_type}.encoded"])


@pytest.mark.parametrize("ggml_type", DECODED_BY_GGUF, ids=str)
def test_decodes_as_gguf(ggml_type):
    raw = random_raw(ggml_type, (37, 512))
    if ggml_type.name == "NVFP4":
        raw = raw & 0x7F  # a scale has no sign; what bit 7 does is tested with the fp4 types
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[ggml_type.name])
    same(to_f32(np, raw, ggml_type), expected)


def test_q8_1_reads_its_scale_and_quants():
    raw = np.concatenate(
        [np.array([0.5, 99], "<f2").view(np.uint8), np.arange(32, dtype=np.uint8) - 16]
    )
    same(to_f32(np, raw, TYPES["Q8_1"]), np.arange(-16, 16, dtype=np.float32) / 2)


@pytest.mark.parametrize("ggml_type", ENCODABLE, ids=str)
def test_the_error_of_a_round_trip_is_that_of_its_bits(ggml_type):
    x = np.random.default_rng(0).standard_normal((8, 256), np.float32)
    again = to_f32(np, from_f32(np, x, ggml_type), ggml_type)
    error = np.mean((x - again) ** 2)
    bits = ggml_type.type_size * 8 / ggml_type.blck_size
    # One bit per value quarters the mean square; formats differ by less than a factor of 32 from 4 ** -bits.
    assert error < 32 * 4.0**-bits


@pytest.mark.parametrize("ggml_type", TYPES.values(), ids=str)
def test_any_strides(ggml_type):
    raw = random_raw(ggml_type, (4, 5, 512))
    for view in (raw[::2], raw[:, 1::3], raw.transpose(1, 0, 2), raw[1:, ::-1]):
        assert not view.flags.c_contiguous
        same(to_f32(np, view, ggml_type), to_f32(np, view.copy(), ggml_type))


@pytest.mark.parametrize("ggml_type", [*ENCODABLE, *PLAIN], ids=str)
def test_any_strides_encoding(ggml_type):
    x = np.random.default_rng(5).standard_normal((256, 3, 4), np.float32).transpose(2, 1, 0)
    raw = from_f32(np, x, ggml_type)
    same(raw, from_f32(np, x.copy(), ggml_type))
    assert raw.shape[:2] == (4, 3)


@pytest.mark.parametrize("ggml_type", TYPES.values(), ids=str)
def test_shapes(ggml_type):
    for shape in ((256,), (2, 256), (1, 2, 3, 512), (0, 256), (2, 0, 256)):
        values = to_f32(np, random_raw(ggml_type, shape), ggml_type)
        assert (values.shape, values.dtype) == (shape, np.float32)


@pytest.mark.parametrize("ggml_type", [*ENCODABLE, *PLAIN], ids=str)
def test_shapes_encoding(ggml_type):
    for shape in ((256,), (1, 2, 3, 512), (0, 256)):
        raw = from_f32(np, np.zeros(shape, np.float32), ggml_type)
        expected = random_raw(ggml_type, shape)
        assert (raw.shape, raw.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("ggml_type", TYPES.values(), ids=str)
def test_any_bytes_decode_in_silence(ggml_type):
    for byte in (0x00, 0x7C, 0x7F, 0x80, 0xFC, 0xFF):
        raw = random_raw(ggml_type, (2, 256))
        raw.view(np.uint8)[:] = byte
        assert to_f32(np, raw, ggml_type).shape == (2, 256)


@pytest.mark.parametrize("ggml_type", [*ENCODABLE, *PLAIN], ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -1e-45])
def test_any_floats_encode_in_silence(ggml_type, value):
    x = np.random.default_rng(1).standard_normal((4, 256), np.float32)
    x[0], x[1, 7], x[2, ::2] = value, value, value
    raw = from_f32(np, x, ggml_type)
    # A block without such values is not touched by its neighbours.
    same(raw[3], from_f32(np, x[3], ggml_type))


@pytest.mark.parametrize("ggml_type", [t for t in BLOCKS if not t.from_f32], ids=str)
def test_types_that_nothing_converts_to(ggml_type):
    with pytest.raises(UnsupportedOp) as caught:
        from_f32(np, np.zeros(256, np.float32), ggml_type)
    assert str(caught.value).startswith(
        f"from_f32: type is {ggml_type}, expected one of IQ4_NL, IQ4_XS, MXFP4"
    )


@pytest.mark.parametrize("name", ["Q4_0", "Q6_K", "IQ2_S", "NVFP4"])
def test_pieces_are_the_whole(name, monkeypatch):
    raw = random_raw(TYPES[name], (11, 256))
    whole = to_f32(np, raw, TYPES[name])
    monkeypatch.setattr(convert, "HOST_CHUNK", 512)
    same(to_f32(np, raw, TYPES[name]), whole)


def test_floats_of_other_widths_encode_as_float32():
    x = np.random.default_rng(2).standard_normal((3, 64))
    same(from_f32(np, x, TYPES["Q8_0"]), from_f32(np, x.astype(np.float32), TYPES["Q8_0"]))
    half = x.astype(np.float16)
    same(from_f32(np, half, TYPES["Q8_0"]), from_f32(np, half.astype(np.float32), TYPES["Q8_0"]))


def test_inputs_are_not_changed():
    x = np.random.default_rng(4).standard_normal((2, 256), np.float32)
    for ggml_type in ENCODABLE:
        before = x.copy()
        raw = from_f32(np, x, ggml_type)
        kept = raw.copy()
        to_f32(np, raw, ggml_type)
        same(x, before)
        same(raw, kept)
