"""What a weight format is to the kernels: how 16 neighbouring elements of a row become floats.

Every kernel is one body (mul_mat.py, dequantize.py) that calls `load`; a format brings the `load`. Its text is Metal
Shading Language. Knows no MLX.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from ggmlrpc_core.ggml.types import TYPES, GgmlType

PART = 16
"""Elements that `load` gives at once; the block size of every quantized type is a multiple."""

HELPERS = """
typedef device const uchar* bytes_in;

inline ushort u16_at(bytes_in p) { return *(device const ushort*)p; }
inline uint u32_at(bytes_in p) { return uint(u16_at(p)) | (uint(u16_at(p + 2)) << 16); }
inline float half_at(bytes_in p) { return float(as_type<half>(u16_at(p))); }

// The n bytes from p on; p is even, as all fields are in blocks of even size.
inline void bytes_at(bytes_in p, uint n, thread uchar* b) {
  for (uint i = 0; i < n / 2; i++) {
    ushort pair = u16_at(p + 2 * i);
    b[2 * i] = uchar(pair & 255);
    b[2 * i + 1] = uchar(pair >> 8);
  }
}
"""
"""Byte access. A block starts at an even address, not always at a multiple of 4."""

_OF_BLOCKS = Template("""
inline void decode(bytes_in b, uint part, thread float* v) {$decode}

// Elements [16 part, 16 part + 16) of a row.
inline void load(bytes_in row, uint part, thread float* v) {
  decode(row + (part / ${parts}) * ulong(${size}), part % ${parts}, v);
}
""")

_OF_ELEMENTS = Template("""
inline float element(bytes_in row, uint i) {$element}

// Elements [16 part, 16 part + 16) of a row.
inline void load(bytes_in row, uint part, thread float* v) {
  for (uint i = 0; i < 16; i++) v[i] = element(row, 16 * part + i);
}
""")


@dataclass(frozen=True, slots=True)
class Format:
    """One type of weights.

    Attributes:
        type: the ggml type.
        body: for a quantized type the body of `decode(b, part, v)`, which fills v[0..15] with the elements from
            16 * part on of the block at b; for a plain type that of `element(row, i)`.
        tables: constants before it.
    """

    type: GgmlType
    body: str
    tables: str = ""

    @property
    def header(self) -> str:
        """All text before the kernel."""
        if not self.type.quantized:
            return HELPERS + self.tables + _OF_ELEMENTS.substitute(element=self.body)
        return (
            HELPERS
            + self.tables
            + _OF_BLOCKS.substitute(
                decode=self.body, parts=self.type.blck_size // PART, size=self.type.type_size
            )
        )


def formats(bodies: dict[str, str], tables: dict[str, str] | None = None) -> dict[str, Format]:
    """Formats by name of their types, from the bodies and the constants by the same names."""
    tables = tables or {}
    return {name: Format(TYPES[name], body, tables.get(name, "")) for name, body in bodies.items()}


def table(name: str, element: str, values: np.ndarray) -> str:
    """A constant array in Metal."""
    numbers = [f"{v}" for v in values.reshape(-1).tolist()]
    lines = [", ".join(numbers[i : i + 16]) for i in range(0, len(numbers), 16)]
    return f"constant const {element} {name}[{len(numbers)}] = {{\n" + ",\n".join(lines) + "\n};\n"
