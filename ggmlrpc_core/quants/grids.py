"""Constant tables of the formats, on the host: code books of the gguf package and tables that follow from a rule.

The gguf package is imported when a table is first asked for: it would slow every start.
"""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def codebook(name: str) -> np.ndarray:
    """The grid of an IQ type: int8 [entries, 4 | 8], one code word per row."""
    from gguf import quants

    source = getattr(quants, name)
    entries, width = source.grid_shape
    packed = np.frombuffer(bytes.fromhex(source.grid_hex.decode("ascii")), np.uint8)
    # A byte of the package holds the map indices of several elements, the first in the lowest bits.
    bits = 2 if len(source.grid_map) <= 4 else 4
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    indices = (packed[:, None] >> shifts) & (2**bits - 1)
    return np.array(source.grid_map, np.int8)[indices].reshape(entries, width)


@cache
def kvalues(name: str) -> np.ndarray:
    """The 16 values of a 4-bit type: IQ4_NL or MXFP4 (doubled E2M1); int8 [16]."""
    from gguf import quants

    return np.array(getattr(quants, name).kvalues, np.int8)


@cache
def kvalue_pairs(name: str) -> np.ndarray:
    """Values of the low and the high half of every byte: int8 [256, 2]."""
    byte = np.arange(256)
    return np.stack([kvalues(name)[byte & 15], kvalues(name)[byte >> 4]], axis=1)


@cache
def nearest_kvalue() -> np.ndarray:
    """Index of the IQ4_NL value nearest to (i - 256) / 2, the upper one of two: int32 [513]."""
    values = kvalues("IQ4_NL").astype(np.int32)
    borders = values[1:] + values[:-1]
    return np.searchsorted(borders, np.arange(-256, 257), side="right").astype(np.int32)


@cache
def bit_rows(zero: int, one: int) -> np.ndarray:
    """A row of 8 for every byte, lowest bit first: `zero` or `one` per bit; int8 [256, 8]."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return np.where(bits == 1, one, zero).astype(np.int8)


@cache
def even_signs() -> np.ndarray:
    """Signs of 8 elements for a 7-bit index: int8 [128, 8] of +1 and -1.

    Bit i set means that element i is negative; the sign of the eighth makes the number of negatives even.
    """
    index = np.arange(128)
    parity = ((index[:, None] >> np.arange(7)) & 1).sum(axis=1) & 1
    return bit_rows(1, -1)[index | (parity << 7)]


@cache
def e8m0_halves() -> np.ndarray:
    """Half of each E8M0 scale, 2**(e - 128): float32 [256]; NaN has no code here.

    Source: ggml-impl.h ggml_e8m0_to_fp32_half.
    """
    return np.ldexp(np.float32(1), np.arange(256) - 128).astype(np.float32)


@cache
def ue4m3_halves() -> np.ndarray:
    """Half of each unsigned E4M3 scale: float32 [256]; 0x7F is 0 and bit 7 is not looked at otherwise.

    Source: ggml-impl.h ggml_ue4m3_to_fp32.
    """
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = np.ldexp(1 + mantissa / 8, exponent - 7)
    value = np.where(exponent == 0, mantissa / 512, normal) / 2
    return np.where(code == 0x7F, 0, value).astype(np.float32)


@cache
def log2_steps() -> np.ndarray:
    """For each exponent field of a float32: the first mantissa whose log2, rounded to float32, is the next integer.

    int32 [256]; above every mantissa where there is none. A logarithm of the array library would make it depend
    on the machine.
    """
    below = np.arange(1, 129)
    exponents = np.arange(256)[:, None]
    value = np.ldexp(2.0 - below * 2.0**-23, exponents - 127)
    carries = np.log2(value).astype(np.float32) >= exponents - 126
    return (0x800000 - carries.sum(axis=1)).astype(np.int32)
