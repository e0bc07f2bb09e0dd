"""The kernels of recurrent layers: a state that every token changes, all tokens in one launch.

In the form of the op table each token is a dozen array operations, and a prompt of 512 tokens thousands. Here one
simdgroup follows one row of the state through all tokens: a lane holds every 32nd key of the row, and a row needs no
other.

Metal Shading Language; see matrix.py. Arguments have no gaps: `state` is [n, heads, rows, keys], or [n, heads, keys,
rows] for a recurrence whose keys are not neighbours; `v` [seqs, tokens, heads, rows] is what a token brings to each
row; y holds the outputs as v, then the states of all sequences as `state`.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

SIMDGROUPS = 4
MAX_KEYS = 256
"""Longest row of a state: 8 registers of each lane."""

_BODY = Template("""
  const uint per_lane = (KEYS + 31) / 32;
  uint seqs = v_shape[0], tokens = v_shape[1], heads = v_shape[2], rows = v_shape[3];
  uint lane = thread_index_in_simdgroup;
  uint row = threadgroup_position_in_grid.x * ${simdgroups} + simdgroup_index_in_threadgroup;
  uint head = threadgroup_position_in_grid.y, seq = threadgroup_position_in_grid.z;
  if (row >= rows) return;

  ulong key_step = ${key_step}, row_step = ${row_step};
  ulong of_head = row * row_step + ulong(head) * rows * KEYS, of_seq = ulong(heads) * rows * KEYS;
  float s[per_lane];
  for (uint i = 0; i < per_lane; i++) {
    uint key = lane + 32 * i;
    s[i] = key < KEYS ? state[${origin} * of_seq + of_head + key * key_step] : 0.0f;
  }
  for (uint t = 0; t < tokens; t++) {
    ulong at = ((ulong(seq) * tokens + t) * heads + head) * rows;
    float mine = v[at + row], total = 0.0f;
${step}
    total = metal::simd_sum(total);
    if (lane == 0) y[at + row] = total;
  }
  ulong behind = ulong(seqs) * tokens * heads * rows;
  for (uint i = 0; i < per_lane; i++) {
    uint key = lane + 32 * i;
    if (key < KEYS) y[behind + seq * of_seq + of_head + key * key_step] = s[i];
  }
""")
_KEYS = "    for (uint i = 0, key = lane; key < KEYS; i++, key += 32) {{ {} }}"


@dataclass(frozen=True, slots=True)
class Scan:
    """One recurrence.

    Attributes:
        inputs: names of the arguments, `v` and `state` among them.
        step: what a token does: changes s[i], the state at `key`, and adds to `total`, the output of the row. `at` is
            where the token's vector of the head starts, `mine` the element of v.
        keys_fast: whether keys of a row are neighbours in the state.
        origin: number of the state that a sequence starts from.
    """

    inputs: tuple[str, ...]
    step: tuple[str, ...]
    keys_fast: bool
    origin: str = "seq"

    @property
    def body(self) -> str:
        """The kernel."""
        return _BODY.substitute(
            simdgroups=SIMDGROUPS,
            key_step="1" if self.keys_fast else "rows",
            row_step="KEYS" if self.keys_fast else "1",
            origin=self.origin,
            step="\n".join(self.step),
        )


def each_key(text: str) -> str:
    """A statement for every key of a lane."""
    return _KEYS.format(text)


WKV6 = Scan(
    ("k", "v", "r", "bonus", "decay", "state"),
    (
        each_key(
            "float kv = k[at + key] * mine; "
            "total += r[at + key] * (bonus[head * KEYS + key] * kv + s[i]); "
            "s[i] = s[i] * decay[at + key] + kv;"
        ),
    ),
    keys_fast=False,
)
GATED_LINEAR = Scan(
    ("k", "v", "q", "gate", "state"),
    (each_key("s[i] = s[i] * gate[at + key] + k[at + key] * mine; total += q[at + key] * s[i];"),),
    keys_fast=False,
)
WKV7 = Scan(
    ("r", "decay", "k", "v", "a", "b", "state"),
    (
        "    float held = 0.0f;",
        each_key("held += a[at + key] * s[i];"),
        "    held = metal::simd_sum(held);",
        each_key(
            "s[i] = s[i] * decay[at + key] + mine * k[at + key] + held * b[at + key]; "
            "total += r[at + key] * s[i];"
        ),
    ),
    keys_fast=True,
)
# Heads and sequences of q and k may be fewer: heads are shared by turns, sequences by neighbours.
GATED_DELTA = Scan(
    ("q", "k", "v", "decay", "beta", "state"),
    (
        "    ulong q_at = ((seq / (seqs / q_shape[0]) * tokens + t) * q_shape[2] + head % q_shape[2]) * KEYS;",
        "    ulong k_at = ((seq / (seqs / k_shape[0]) * tokens + t) * k_shape[2] + head % k_shape[2]) * KEYS;",
        "    uint gates = decay_shape[3];",
        "    ulong gate_at = at / rows * gates;",
        "    float held = 0.0f;",
        each_key("s[i] *= decay[gate_at + key % gates]; held += s[i] * k[k_at + key];"),
        "    held = metal::simd_sum(held);",
        "    float delta = (mine - held) * beta[at / rows];",
        each_key("s[i] += delta * k[k_at + key]; total += s[i] * q[q_at + key];"),
    ),
    keys_fast=True,
)
SELECTIVE = Scan(
    ("state", "v", "dt", "a", "b", "c", "ids"),
    (
        "    uint groups = b_shape[2], rates = a_shape[3];",
        "    ulong b_at = ((ulong(seq) * tokens + t) * groups + head / (heads / groups)) * KEYS;",
        "    float d = dt[at / rows];",
        each_key(
            "float decay = metal::exp(d * a[head * rates + key % rates]); "
            "s[i] = s[i] * decay + b[b_at + key] * (mine * d); "
            "total += s[i] * c[b_at + key];"
        ),
    ),
    keys_fast=True,
    # Ids were checked before; a wrong one must still not lead out of the states.
    origin="metal::min(uint(ids[seq]), uint(state_shape[0] - 1))",
)

SCANS = {
    "wkv6": WKV6,
    "gated_linear": GATED_LINEAR,
    "wkv7": WKV7,
    "gated_delta": GATED_DELTA,
    "selective": SELECTIVE,
}
"""By name of the kernel."""
