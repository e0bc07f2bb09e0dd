"""Formats whose elements are code words of a grid: IQ1, IQ2 and IQ3; the layouts are described in ggmlrpc_core/quants.

A part is 16 elements: half of a run of 32 with two groups of 8. `ib` is the number of the run, `group` that of a group
in its block (0 to 31).
"""

from __future__ import annotations

import numpy as np

from ggmlrpc_core.quants.grids import codebook
from ggmlrpc_metal.kernels.format import Format, formats, table

# Code words are kept as words of 4 signed bytes. `eight` takes the sign of element i from bit i.
WORDS = """
inline float word_byte(uint word, uint i) { return float(as_type<char>(uchar((word >> (8 * i)) & 255))); }
inline void eight(float d, uint first, uint second, uint signs, thread float* v) {
  for (uint i = 0; i < 8; i++) {
    float x = word_byte(i < 4 ? first : second, i % 4);
    v[i] = d * (((signs >> i) & 1) ? -x : x);
  }
}
// Seven signs are stored; the eighth makes the number of negatives even.
inline uint even_signs(uint seven) { return seven | ((metal::popcount(seven) & 1) << 7); }
// A word of a grid of {-1, 0, 1} plus a shift of an eighth up or down.
inline void eight_shifted(float d, uint index, float shift, thread float* v) {
  for (uint i = 0; i < 8; i++) v[i] = d * (8.0f * word_byte(grid[2 * index + i / 4], i % 4) + shift);
}
"""

BODIES = {
    "IQ2_XXS": """
  uint ib = part / 2;
  uint packed = u32_at(b + 2 + 8 * ib + 4);
  float d = half_at(b) * (float(packed >> 28) + 0.5f) * 0.25f;
  for (uint g = 0; g < 2; g++) {
    uint l = 2 * (part % 2) + g, index = b[2 + 8 * ib + l];
    eight(d, grid[2 * index], grid[2 * index + 1], even_signs((packed >> (7 * l)) & 127), v + 8 * g);
  }
""",
    "IQ2_XS": """
  uint scale = (b[66 + part / 2] >> (4 * (part % 2))) & 15;
  float d = half_at(b) * (float(scale) + 0.5f) * 0.25f;
  for (uint g = 0; g < 2; g++) {
    uint packed = u16_at(b + 2 + 2 * (2 * part + g)), index = packed & 511;
    eight(d, grid[2 * index], grid[2 * index + 1], even_signs(packed >> 9), v + 8 * g);
  }
""",
    "IQ2_S": """
  uint scale = (b[74 + part / 2] >> (4 * (part % 2))) & 15;
  float d = half_at(b) * (float(scale) + 0.5f) * 0.25f;
  for (uint g = 0; g < 2; g++) {
    uint group = 2 * part + g;
    uint index = b[2 + group] | (((b[66 + part / 2] >> (2 * (group % 4))) & 3) << 8);
    eight(d, grid[2 * index], grid[2 * index + 1], b[34 + group], v + 8 * g);
  }
""",
    "IQ3_XXS": """
  uint packed = u32_at(b + 66 + 4 * (part / 2));
  float d = half_at(b) * (float(packed >> 28) + 0.5f) * 0.5f;
  for (uint g = 0; g < 2; g++) {
    uint group = 2 * part + g;
    uint signs = even_signs((packed >> (7 * (group % 4))) & 127);
    eight(d, grid[b[2 + 2 * group]], grid[b[3 + 2 * group]], signs, v + 8 * g);
  }
""",
    "IQ3_S": """
  uint ib = part / 2;
  uint scale = (b[106 + ib / 2] >> (4 * (ib % 2))) & 15;
  float d = half_at(b) * float(1 + 2 * scale);
  for (uint g = 0; g < 2; g++) {
    uint group = 2 * part + g, high = b[66 + ib] >> (2 * (group % 4));
    uint first = b[2 + 2 * group] | ((high & 1) << 8);
    uint second = b[3 + 2 * group] | ((high & 2) << 7);
    eight(d, grid[first], grid[second], b[74 + group], v + 8 * g);
  }
""",
    "IQ1_S": """
  uint packed = u16_at(b + 34 + 2 * (part / 2));
  float d = half_at(b) * float(2 * ((packed >> 12) & 7) + 1) * 0.125f;
  float shift = (packed >> 15) ? -1.0f : 1.0f;
  for (uint g = 0; g < 2; g++) {
    uint group = 2 * part + g;
    uint index = b[2 + group] | (((packed >> (3 * (group % 4))) & 7) << 8);
    eight_shifted(d, index, shift, v + 8 * g);
  }
""",
    # A quarter of the half-precision scale ends each of the four words of scales, the lowest first.
    "IQ1_M": """
  uint bits = 0;
  for (uint i = 0; i < 4; i++) bits |= uint(u16_at(b + 48 + 2 * i) >> 12) << (4 * i);
  uint scale = (u16_at(b + 48 + 2 * (part / 4)) >> (3 * (part % 4))) & 7;
  float d = float(as_type<half>(ushort(bits))) * float(2 * scale + 1) * 0.125f;
  for (uint g = 0; g < 2; g++) {
    uint group = 2 * part + g, high = b[32 + part] >> (4 * g);
    uint index = b[group] | ((high & 7) << 8);
    eight_shifted(d, index, (high & 8) ? -1.0f : 1.0f, v + 8 * g);
  }
""",
}

GRIDS = {"IQ1_M": "IQ1_S"}
"""Types that use the grid of another one."""


def grid(name: str) -> str:
    """The code book of a type as words of 4 elements, the first in the lowest byte."""
    words = np.ascontiguousarray(codebook(GRIDS.get(name, name))).view("<u4")
    return table("grid", "uint", words)


def iq_formats() -> dict[str, Format]:
    """IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S."""
    return formats(BODIES, {name: grid(name) + WORDS for name in BODIES})
