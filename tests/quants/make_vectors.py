"""Write vectors.npz: what the stock library's reference code makes of fixed inputs.

Usage: python tests/quants/make_vectors.py PATH/libggml-base.so

See vectors.md for what the file holds.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np

from ggmlrpc_core.ggml.types import TYPES

BLOCKS = 6
"""Random blocks to decode, per type."""


def main(library_path: str) -> None:
    """Make all vectors with the library and write them beside this file."""
    library = ctypes.CDLL(library_path)
    library.ggml_version.restype = ctypes.c_char_p
    library.ggml_commit.restype = ctypes.c_char_p
    stated = library.ggml_version() + b" " + library.ggml_commit()
    arrays = {"x": inputs(), "version": np.array(stated.decode())}
    rng = np.random.default_rng(20)
    for name, ggml_type in TYPES.items():
        symbol = name.lower().replace("_k", "_K")
        if not ggml_type.quantized:
            continue
        if ggml_type.from_f32:
            x = arrays["x"].reshape(-1, ggml_type.blck_size)
            raw = np.zeros((len(x), ggml_type.type_size), np.uint8)
            convert(library[f"quantize_row_{symbol}_ref"], x, raw, x.size)
            if name == "IQ4_NL":
                # The library leaves the quants of an empty block unset.
                raw[np.abs(x).max(axis=1) < 1e-15] = 0
            arrays[f"{name}.encoded"] = raw
        if name != "Q8_1":
            raw = rng.integers(0, 256, (BLOCKS, ggml_type.type_size), dtype=np.uint8)
            values = np.zeros((BLOCKS, ggml_type.blck_size), np.float32)
            convert(library[f"dequantize_row_{symbol}"], raw, values, values.size)
            arrays[f"{name}.raw"], arrays[f"{name}.values"] = raw, values
    np.savez_compressed(Path(__file__).with_name("vectors.npz"), **arrays)


def inputs() -> np.ndarray:
    """Rows of 256 floats that reach the branches of the encoders: float32 [rows, 256]."""
    rng = np.random.default_rng(10)
    normal = rng.standard_normal((20, 256), np.float32)
    steps = np.arange(256, dtype=np.float32)
    below_power = np.nextafter(np.float32(8), np.float32(0))
    rows = [
        normal[0],
        normal[1] * np.float32(0.02),
        np.abs(normal[2]) + np.float32(0.5),
        -np.abs(normal[3]),
        np.round(normal[4] * 2) / 2,
        normal[5] * (rng.random(256) < 0.1),
        normal[6] * np.float32(1e4),
        normal[7] * np.float32(1e-6),
        normal[8] * np.where(steps % 97 == 5, 50, 1),
        np.sign(normal[9]) * (np.abs(normal[9]) > 0.7),
        np.clip(normal[10] * 4, -below_power, below_power),
        (steps - 100) / 16,
        np.full(256, 0.37),
        np.where(steps % 3 == 0, -0.0, 0.0),
        np.where(steps < 128, 0, normal[11]),
        normal[11] * np.float32(1e-30),
        normal[11] * np.float32(1e-14),
        *normal[12:],
        *np.round(normal[12:16] * 4) / 4,
        *rng.random((7, 256), np.float32),
    ]
    return np.stack(rows).astype(np.float32)


def convert(function: ctypes._CFuncPtr, source: np.ndarray, target: np.ndarray, n: int) -> None:
    """Call one of the library's row functions."""
    pointer = ctypes.c_void_p
    function(source.ctypes.data_as(pointer), target.ctypes.data_as(pointer), ctypes.c_int64(n))


if __name__ == "__main__":
    main(sys.argv[1])
