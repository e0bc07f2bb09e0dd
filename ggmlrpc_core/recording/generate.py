"""Data that a seed stands for: what a recording holds instead of the weights of a synthetic model.

Every value is a function of the seed's text and of its place, so that any slice can be made alone, in any language.
The streams never change: a recording made once must mean the same bytes for ever. Knows no file and no tensor.
Definition: docs/reference/ggrec.md, "Generated data".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ggmlrpc_core.ggml.types import TYPES

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

PIECE = 1 << 18
"""Bytes made at once, about."""

FLOATS = MappingProxyType({"F32": 4, "F16": 2, "BF16": 2})
"""Types that are uniform in [lo, hi), with bytes per value."""

_D, _MIN = "d", "min"
SCALES: MappingProxyType[str, tuple[tuple[int, str], ...]] = MappingProxyType(
    {
        "Q4_0": ((0, _D),),
        "Q4_1": ((0, _D), (2, _MIN)),
        "Q5_0": ((0, _D),),
        "Q5_1": ((0, _D), (2, _MIN)),
        "Q8_0": ((0, _D),),
        "Q2_K": ((80, _D), (82, _MIN)),
        "Q3_K": ((108, _D),),
        "Q4_K": ((0, _D), (2, _MIN)),
        "Q5_K": ((0, _D), (2, _MIN)),
        "Q6_K": ((208, _D),),
        "IQ4_NL": ((0, _D),),
    }
)
"""Block types: where the F16 fields of a block are. All other bytes are random."""

_MIN_FACTOR = MappingProxyType(
    {"Q4_1": (3, 1), "Q5_1": (4, 1), "Q2_K": (1, 0), "Q4_K": (3, 0), "Q5_K": (4, 0)}
)
"""What makes "min" of "d" in a block: exponent added and sign bit, so that values lie around 0."""

_SPREAD = MappingProxyType(
    {"Q4_0": 4.6, "Q4_1": 4.6, "Q5_0": 9.2, "Q5_1": 9.2, "Q8_0": 74.0, "Q2_K": 15.7, "Q3_K": 43.0}
    | {"Q4_K": 263.0, "Q5_K": 535.0, "Q6_K": 1365.0, "IQ4_NL": 67.0}
)
"""Root mean square of the values of a block whose d is 1; measured, used only to choose `exp`."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One stream of bytes.

    Attributes:
        type: one of FLOATS or SCALES.
        seed: any text.
        lo, hi: of a float type.
        exp: of a block type: d is in [2**exp, 2**(exp + 1)); -14 to 11, so that "min" is normal too.
    """

    type: str
    seed: str
    lo: float = 0.0
    hi: float = 0.0
    exp: int = 0

    def pieces(self, size: int, *, skip: int = 0) -> Iterator[bytes]:
        """Bytes [skip, skip + size) of the stream, in pieces."""
        unit = unit_size(self.type)
        step = max(1, PIECE // unit)
        first, last = skip // unit, -(-(skip + size) // unit)
        for at in range(first, last, step):
            n = min(step, last - at)
            data = self._values(at, n) if self.type in FLOATS else self._blocks(at, n)
            low = max(skip - at * unit, 0)
            yield data[low : min(skip + size - at * unit, n * unit)]

    def _values(self, first: int, n: int) -> bytes:
        unit = (words(self.seed, first, n) >> np.uint64(40)).astype(np.float64) / (1 << 24)
        values = (self.lo + (self.hi - self.lo) * unit).astype(np.float32)
        if self.type == "F32":
            return values.astype("<f4").tobytes()
        if self.type == "F16":
            return values.astype("<f2").tobytes()
        bits = values.view(np.uint32)
        even = (bits >> np.uint32(16)) & np.uint32(1)
        return ((bits + np.uint32(0x7FFF) + even) >> np.uint32(16)).astype("<u2").tobytes()

    def _blocks(self, first: int, n: int) -> bytes:
        size = TYPES[self.type].type_size
        begin, end = first * size, (first + n) * size
        raw = words(self.seed, begin // 8, -(-end // 8) - begin // 8).astype("<u8").view(np.uint8)
        blocks = raw[begin % 8 : begin % 8 + n * size].reshape(n, size).copy()
        (at, _), *_rest = SCALES[self.type]
        mantissa = blocks[:, at : at + 2].copy().view("<u2") & np.uint16(0x3FF)
        for at, role in SCALES[self.type]:
            add, sign = (0, 0) if role == _D else _MIN_FACTOR[self.type]
            head = np.uint16(sign << 15 | (self.exp + add + 15) << 10)
            blocks[:, at : at + 2] = (mantissa | head).astype("<u2").view(np.uint8)
        return blocks.tobytes()


def words(seed: str, first: int, n: int) -> np.ndarray:
    """uint64 [n]: words first, first + 1, ... of the stream of a seed (SplitMix64 at any place)."""
    start = hashlib.blake2b(seed.encode(), digest_size=8).digest()
    with np.errstate(over="ignore"):
        z = np.arange(first + 1, first + 1 + n, dtype=np.uint64) * _GOLDEN
        z += np.uint64(int.from_bytes(start, "little"))
        z ^= z >> np.uint64(30)
        z *= _MIX_1
        z ^= z >> np.uint64(27)
        z *= _MIX_2
        z ^= z >> np.uint64(31)
    return z


def unit_size(ggml_type: str) -> int:
    """Bytes of one value or block of a type that can be generated."""
    return FLOATS.get(ggml_type) or TYPES[ggml_type].type_size


def generated_weight(seed: str, name: str, *, ggml_type: str, ne0: int) -> Generated | None:
    """The weights of a synthetic model: by name and type, of a size that keeps activations ordinary.

    Norms are around 1; other values have a root mean square of about 1/sqrt(ne0), within a factor of 2.

    Args:
        seed: of the model.
        name: of the tensor; each has its own stream.
        ggml_type: of the weight.
        ne0: elements of a row, at least 1.

    Returns:
        None for a type that cannot be generated.
    """
    text = f"{seed}/{name}"
    rms = 1 / math.sqrt(max(ne0, 1))
    if ggml_type in FLOATS:
        if "norm" in name:
            return Generated(ggml_type, text, lo=0.75, hi=1.25)
        top = 2.0 ** round(math.log2(rms * math.sqrt(3)))
        return Generated(ggml_type, text, lo=-top, hi=top)
    if ggml_type in SCALES:
        exp = round(math.log2(rms / _SPREAD[ggml_type] / 1.5))
        return Generated(ggml_type, text, exp=max(-14, min(exp, 11)))
    return None
