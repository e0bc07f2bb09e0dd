"""What our client sends to a peer's server: op cases of the package, and one block of a model as a single graph.

Each case has a first date: that of the state in which the op, or this use of it, exists and its CPU kernel takes these
types. The server cannot be asked (it ends when it meets what it does not support), so the table must say it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.cases import all_cases
from ggmlrpc_core.testing.inputs import Case, Inputs

N_EMBD, N_HEAD, N_TOK, N_FF = 256, 4, 5, 512
BLOCK_NMSE = 1e-3
"""Bound of the block: the activations are rounded to 8 bits before each product with Q4_0 or Q8_0 weights."""


def weight(b: Inputs, ggml_type: str, *ne: int) -> Tensor:
    """A matrix whose products are as large as what it is multiplied with."""
    return b.rand(ggml_type, *ne, low=-((3 / ne[0]) ** 0.5), high=(3 / ne[0]) ** 0.5)


def block(b: Inputs) -> Tensor:
    """Attention and feed forward over five tokens, as in llama before attention was one op."""
    x = b.rand("F32", N_EMBD, N_TOK, name="x")
    pos = b.given("I32", np.arange(N_TOK), name="pos")
    d = N_EMBD // N_HEAD
    h = b.mul(b.rms_norm(x, eps=1e-5), b.rand("F32", N_EMBD, low=0.8, high=1.2))
    q, k, v = (
        b.reshape(b.mul_mat(weight(b, t, N_EMBD, N_EMBD), h), d, N_HEAD, N_TOK)
        for t in ("Q8_0", "F16", "Q4_0")
    )
    q, k = (b.rope_ext(t, pos, n_dims=d) for t in (q, k))
    q, k = (b.permute(t, 0, 2, 1, 3) for t in (q, k))
    scores = b.soft_max_ext(b.mul_mat(b.cont(k), q), b.causal_mask(N_TOK, N_TOK), scale=d**-0.5)
    mixed = b.mul_mat(b.cont(b.permute(v, 1, 2, 0, 3)), scores)
    joined = b.cont(b.permute(mixed, 0, 2, 1, 3), N_EMBD, N_TOK)
    y = b.add(x, b.mul_mat(weight(b, "Q8_0", N_EMBD, N_EMBD), joined))
    h = b.rms_norm(y, eps=1e-5)
    gate = b.silu(b.mul_mat(weight(b, "Q4_0", N_EMBD, N_FF), h))
    up = b.mul_mat(weight(b, "Q8_0", N_EMBD, N_FF), h)
    return b.add(y, b.mul_mat(weight(b, "F16", N_FF, N_EMBD), b.mul(gate, up)))


@dataclass(frozen=True)
class Sent:
    """A case, and since when servers can run it.

    Attributes:
        case: the graph and its bound.
        since: YYYY-MM-DD.
        until: first date at which servers cannot any more, "" for none.
    """

    case: Case
    since: str = ""
    until: str = ""

    def fits(self, date: str) -> bool:
        """Whether servers of that date run it."""
        return self.since <= date and (not self.until or date < self.until)


BLOCK = Case("block of a model", block, BLOCK_NMSE)

_SINCE_START = (
    "ADD/F32 F32 b=[1, 3, 1, 2]", "MUL/F32 F32 b=[32, 1, 1, 1]", "SCALE/F32 s=2.5 bias=0.0 inplace=False",
    "CLAMP/F32", "SUM_ROWS/F32", "ARGSORT/DESC", "DIAG_MASK_INF/F32", "CONT/F32 permuted",
    "MUL_MAT/F32 k=256 m=17 n=4", "MUL_MAT/F16 k=256 m=17 n=4", "MUL_MAT/Q4_0 k=256 m=17 n=4",
    "MUL_MAT/Q5_1 k=256 m=17 n=4", "MUL_MAT/Q8_0 k=256 m=17 n=4", "MUL_MAT/Q4_K k=256 m=17 n=4",
    "MUL_MAT/Q6_K k=256 m=17 n=4", "MUL_MAT/IQ4_NL k=256 m=17 n=4", "MUL_MAT/BF16 k=256 m=17 n=4",
    "MUL_MAT/Q8_0 broadcast", "MUL_MAT_ID/Q8_0 used=2 rows=2 tok=7",
    "NORM/F32", "RMS_NORM/F32", "GROUP_NORM/F32",
    "ROPE/NORMAL F32 yarn=False", "ROPE/inplace",
    "SOFT_MAX/mask= max_bias=0.0", "SOFT_MAX/mask=F16 max_bias=0.0", "SOFT_MAX/mask=F32 max_bias=8.0",
    "GET_ROWS/F16", "GET_ROWS/Q4_0", "GET_ROWS/Q6_K",
    "CPY/F32 to F16", "CPY/F32 to Q8_0", "CPY/into a view of a cache",
    "UNARY/SILU F32", "UNARY/GELU F32", "UNARY/RELU F32", "UNARY/TANH F32", "UNARY/HARDSWISH F32",
    "CONCAT/F32 dim=2", "UPSCALE/mode=0", "PAD/F32 right", "TIMESTEP_EMBEDDING/dim=8", "IM2COL/F16",
    "FLASH_ATTN_EXT/F16 dk=64 dv=64 tok=1 kv=33 heads=4/4",
)  # fmt: skip
_LATER = {
    "CONCAT/F32 dim=0": "2024-05-28",
    # With frequency factors; the first servers end at them in one mode and scale twice in the other.
    "ROPE/NORMAL F32 yarn=True": "2024-06-05",
    "ROPE/NEOX F16 yarn=True": "2024-06-05",
    "FLASH_ATTN_EXT/max_bias=0.0 softcap=20.0 sinks=False": "2024-08-24",
    "MUL_MAT/TQ2_0 k=256 m=17 n=4": "2024-09-06",
    "UNARY/EXP F32": "2024-09-20",
    "ROPE/MROPE F32 yarn=False": "2024-12-14",
    "GLU/SWIGLU F32 two": "2025-06-29",
    "GLU/GEGLU F32 halves swapped=True": "2025-06-29",
    "GLU/GEGLU_ERF F32 two": "2025-07-03",
    "SET_ROWS/F16 I64": "2025-07-03",
    "SCALE/F32 s=-0.5 bias=1.5 inplace=False": "2025-07-09",
    "SOFT_MAX/sinks": "2025-08-05",
    "FLASH_ATTN_EXT/max_bias=0.0 softcap=0.0 sinks=True": "2025-08-05",
    "MUL_MAT/MXFP4 k=256 m=17 n=4": "2025-08-05",
    "GLU/SWIGLU_OAI F32": "2025-08-05",
    "PAD/F32 left": "2025-09-04",
    "UNARY/XIELU F32": "2025-10-02",
    "UNARY/FLOOR F32": "2025-11-13",
    "PAD/F32 circular": "2025-12-06",
}


def sent_cases() -> list[Sent]:
    """All, the block first."""
    known = all_cases()
    return [
        Sent(BLOCK),
        *(Sent(known[name]) for name in _SINCE_START),
        *(Sent(known[name], since) for name, since in _LATER.items()),
    ]
