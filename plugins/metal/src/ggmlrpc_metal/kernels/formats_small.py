"""Formats with one scale per small block, and the plain types; the layouts are described in ggmlrpc_core/quants."""

from __future__ import annotations

from ggmlrpc_core.quants.grids import kvalues
from ggmlrpc_metal.kernels.format import Format, formats, table

PLAIN = {
    "F32": " return ((device const float*)row)[i]; ",
    "F16": " return float(((device const half*)row)[i]); ",
    "BF16": " return as_type<float>(uint(((device const ushort*)row)[i]) << 16); ",
}

# Part 0 of a block of 32 is the low halves of its 16 bytes, part 1 the high ones.
SMALL = {
    "Q4_0": """
  uchar q[16];
  bytes_at(b + 2, 16, q);
  float d = half_at(b);
  for (uint i = 0; i < 16; i++) v[i] = d * (float((q[i] >> (4 * part)) & 15) - 8.0f);
""",
    "Q4_1": """
  uchar q[16];
  bytes_at(b + 4, 16, q);
  float d = half_at(b), m = half_at(b + 2);
  for (uint i = 0; i < 16; i++) v[i] = d * float((q[i] >> (4 * part)) & 15) + m;
""",
    "Q5_0": """
  uchar q[16];
  bytes_at(b + 6, 16, q);
  float d = half_at(b);
  uint fifth = u16_at(b + 2 + 2 * part);
  for (uint i = 0; i < 16; i++) {
    uint code = ((q[i] >> (4 * part)) & 15) | (((fifth >> i) & 1) << 4);
    v[i] = d * (float(code) - 16.0f);
  }
""",
    "Q5_1": """
  uchar q[16];
  bytes_at(b + 8, 16, q);
  float d = half_at(b), m = half_at(b + 2);
  uint fifth = u16_at(b + 4 + 2 * part);
  for (uint i = 0; i < 16; i++) {
    uint code = ((q[i] >> (4 * part)) & 15) | (((fifth >> i) & 1) << 4);
    v[i] = d * float(code) + m;
  }
""",
    "Q8_0": """
  uchar q[16];
  bytes_at(b + 2 + 16 * part, 16, q);
  float d = half_at(b);
  for (uint i = 0; i < 16; i++) v[i] = d * float(as_type<char>(q[i]));
""",
    "Q1_0": """
  float d = half_at(b);
  uint signs = u16_at(b + 2 + 2 * part);
  for (uint i = 0; i < 16; i++) v[i] = ((signs >> i) & 1) ? d : -d;
""",
    "Q2_0": """
  float d = half_at(b);
  uint codes = u32_at(b + 2 + 4 * part);
  for (uint i = 0; i < 16; i++) v[i] = d * (float((codes >> (2 * i)) & 3) - 1.0f);
""",
    "IQ4_NL": """
  uchar q[16];
  bytes_at(b + 2, 16, q);
  float d = half_at(b);
  for (uint i = 0; i < 16; i++) v[i] = d * float(values[(q[i] >> (4 * part)) & 15]);
""",
    # The only block of odd size: byte access. The scale is half of 2^(e - 127), since the values are doubled.
    "MXFP4": """
  uint e = b[0];
  float d = as_type<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  for (uint i = 0; i < 16; i++) v[i] = d * float(values[(b[1 + i] >> (4 * part)) & 15]);
""",
    # Four runs of 16, each with an unsigned E4M3 scale; half of it, since the values are doubled.
    "NVFP4": """
  uchar q[8];
  bytes_at(b + 4 + 8 * part, 8, q);
  uint code = b[part], e = (code >> 3) & 15, m = code & 7;
  float d = e == 0 ? float(m) / 1024.0f : as_type<float>(((e + 119) << 23) | (m << 20));
  if (code == 0x7f) d = 0.0f;
  for (uint i = 0; i < 8; i++) {
    v[i] = d * float(values[q[i] & 15]);
    v[i + 8] = d * float(values[q[i] >> 4]);
  }
""",
}


def small_formats() -> dict[str, Format]:
    """F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q1_0 Q2_0 IQ4_NL MXFP4 NVFP4."""
    four_bit = table("values", "char", kvalues("IQ4_NL"))
    e2m1 = table("values", "char", kvalues("MXFP4"))
    tables = {"IQ4_NL": four_bit, "MXFP4": e2m1, "NVFP4": e2m1}
    return formats({**PLAIN, **SMALL}, tables)
