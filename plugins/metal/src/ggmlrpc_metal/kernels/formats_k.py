"""Formats with blocks of 256 without a code book: the K types, the ternary ones and IQ4_XS.

A part is 16 elements: half of a run of 32, and the layouts are described in ggmlrpc_core/quants.
"""

from __future__ import annotations

from ggmlrpc_core.quants.grids import kvalues
from ggmlrpc_metal.kernels.format import Format, formats, table

# Where two bits of each of 16 elements are, in runs of 32 bytes that hold 128 elements.
CRUMBS = """
inline uint crumb_byte(uint part) { return 32 * (part / 8) + 16 * (part % 2); }
inline uint crumb_shift(uint part) { return 2 * ((part % 8) / 2); }
"""

# Scale and minimum of run j of Q4_K and Q5_K, 6 bits each, in 12 bytes.
SIX_BITS = """
inline float six_scale(bytes_in s, uint j) {
  return float(j < 4 ? s[j] & 63 : (s[4 + j] & 15) | ((s[j - 4] >> 6) << 4));
}
inline float six_minimum(bytes_in s, uint j) {
  return float(j < 4 ? s[4 + j] & 63 : (s[4 + j] >> 4) | ((s[j] >> 6) << 4));
}
"""

# Digit n of a byte of TQ1_0, 0 to 2.
TRITS = """
inline float trit(uchar packed, uint n) {
  uint power = n == 0 ? 1 : n == 1 ? 3 : n == 2 ? 9 : n == 3 ? 27 : 81;
  return float((((packed * power) & 255) * 3) >> 8);
}
"""

BODIES = {
    "Q2_K": """
  uchar q[16];
  bytes_at(b + 16 + crumb_byte(part), 16, q);
  float scale = half_at(b + 80) * float(b[part] & 15);
  float low = half_at(b + 82) * float(b[part] >> 4);
  for (uint i = 0; i < 16; i++) v[i] = scale * float((q[i] >> crumb_shift(part)) & 3) - low;
""",
    "Q3_K": """
  uchar q[16], high[16];
  bytes_at(b + 32 + crumb_byte(part), 16, q);
  bytes_at(b + 16 * (part % 2), 16, high);
  uint four = (b[96 + part % 8] >> (4 * (part / 8))) & 15;
  uint two = (b[104 + part % 4] >> (2 * (part / 4))) & 3;
  float scale = half_at(b + 108) * (float(four | (two << 4)) - 32.0f);
  for (uint i = 0; i < 16; i++) {
    uint code = ((q[i] >> crumb_shift(part)) & 3) | (((high[i] >> (part / 2)) & 1) << 2);
    v[i] = scale * (float(code) - 4.0f);
  }
""",
    "Q4_K": """
  uint run = part / 2;
  uchar q[16];
  bytes_at(b + 16 + 32 * (run / 2) + 16 * (part % 2), 16, q);
  float scale = half_at(b) * six_scale(b + 4, run);
  float low = half_at(b + 2) * six_minimum(b + 4, run);
  for (uint i = 0; i < 16; i++) v[i] = scale * float((q[i] >> (4 * (run % 2))) & 15) - low;
""",
    "Q5_K": """
  uint run = part / 2;
  uchar q[16], high[16];
  bytes_at(b + 48 + 32 * (run / 2) + 16 * (part % 2), 16, q);
  bytes_at(b + 16 + 16 * (part % 2), 16, high);
  float scale = half_at(b) * six_scale(b + 4, run);
  float low = half_at(b + 2) * six_minimum(b + 4, run);
  for (uint i = 0; i < 16; i++) {
    uint code = ((q[i] >> (4 * (run % 2))) & 15) | (((high[i] >> run) & 1) << 4);
    v[i] = scale * float(code) - low;
  }
""",
    # Low halves: 64 bytes for 128 elements, byte i for elements i and i + 64.
    "Q6_K": """
  uint within = part % 8;
  uchar q[16], high[16];
  bytes_at(b + 64 * (part / 8) + 16 * (within % 4), 16, q);
  bytes_at(b + 128 + crumb_byte(part), 16, high);
  float scale = half_at(b + 208) * float(as_type<char>(b[192 + part]));
  for (uint i = 0; i < 16; i++) {
    uint code = ((q[i] >> (4 * (within / 4))) & 15) | (((high[i] >> crumb_shift(part)) & 3) << 4);
    v[i] = scale * (float(code) - 32.0f);
  }
""",
    # Elements 0 to 159 lie in 32 bytes, 160 to 239 in 16, and the last 16 in 4.
    "TQ1_0": """
  float d = half_at(b + 52);
  for (uint i = 0; i < 16; i++) {
    uint at = part < 10 ? 16 * (part % 2) + i : part < 15 ? 32 + i : 48 + i % 4;
    uint digit = part < 10 ? part / 2 : part < 15 ? part - 10 : i / 4;
    v[i] = d * (trit(b[at], digit) - 1.0f);
  }
""",
    "TQ2_0": """
  uchar q[16];
  bytes_at(b + crumb_byte(part), 16, q);
  float d = half_at(b + 64);
  for (uint i = 0; i < 16; i++) v[i] = d * (float((q[i] >> crumb_shift(part)) & 3) - 1.0f);
""",
    "IQ4_XS": """
  uint run = part / 2;
  uchar q[16];
  bytes_at(b + 8 + 16 * run, 16, q);
  uint four = (b[4 + run / 2] >> (4 * (run % 2))) & 15;
  uint two = (u16_at(b + 2) >> (2 * run)) & 3;
  float scale = half_at(b) * (float(four | (two << 4)) - 32.0f);
  for (uint i = 0; i < 16; i++) v[i] = scale * float(values[(q[i] >> (4 * (part % 2))) & 15]);
""",
}


def k_formats() -> dict[str, Format]:
    """Q2_K Q3_K Q4_K Q5_K Q6_K TQ1_0 TQ2_0 IQ4_XS."""
    tables = dict.fromkeys(("Q2_K", "Q3_K", "Q6_K", "TQ2_0"), CRUMBS)
    tables |= dict.fromkeys(("Q4_K", "Q5_K"), SIX_BITS)
    tables |= {"TQ1_0": TRITS, "IQ4_XS": table("values", "char", kvalues("IQ4_NL"))}
    return formats(BODIES, tables)
