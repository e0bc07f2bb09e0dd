"""FLASH_ATTN_EXT (kernels/attention.py)."""

from __future__ import annotations

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.softmax import alibi_slopes
from ggmlrpc_cpu.families.layout import f32_rows, source, tight_rows
from ggmlrpc_cpu.families.rows import NO_DECODER
from ggmlrpc_cpu.step import Context, Step, steps_of

TILE = 64
"""K rows that are f32 at a time."""
BLOCK = 32
"""Query rows that share such a tile."""
HEAD = 16
"""Floats before the values of a partial result: maximum, sum, and what aligns the rest."""
ENOUGH_ITEMS = 64
"""Work items with which every thread stays busy without cutting K."""
CHUNK = 256
"""Least K rows of a chunk."""
MOST_CHUNKS = 32
NS_PER_STEP = 0.25
"""Guess for one vector of 16 multiply-adds, nanoseconds."""


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


@steps_of("FLASH_ATTN_EXT")
def flash_attn(node: Tensor, context: Context) -> list[Step] | None:
    """Attention in one pass over K and V."""
    q, k, v, mask, sinks = (source(node, slot) for slot in range(5))
    if q is None or k is None or v is None or not f32_rows(node, q, sinks):
        return None
    if not (tight_rows(k) and tight_rows(v) and tight_rows(mask)) or k.ne[2] != v.ne[2]:
        return None
    if k.type.name in NO_DECODER or v.type.name in NO_DECODER:
        return None
    if mask is not None and mask.type.name != "F16":
        return None
    dk, tokens, heads, streams = q.ne
    kv, dv = k.ne[1], v.ne[0]
    wk, wv = _up(dk, 16), _up(dv, 16)
    blocks = -(-(heads // k.ne[2] * tokens) // BLOCK)
    chunks, chunk_rows = 1, _up(kv, TILE)
    if streams * k.ne[2] * blocks < ENOUGH_ITEMS and kv > CHUNK:
        chunk_rows = max(CHUNK, _up(-(-kv // MOST_CHUNKS), TILE))
        chunks = -(-kv // chunk_rows)
    thread_bytes = _up(4 * ((TILE + BLOCK) * (wk + wv) + 2 * TILE + 2 * BLOCK), 64)
    slopes = np.ascontiguousarray(alibi_slopes(heads, node.f32(1)), np.float32)
    work = streams * heads * tokens * kv * (wk + wv) / 16
    first = Step(
        "FLASH_ATTN",
        node,
        row_functions=(f"to_f32:{k.type}", f"to_f32:{v.type}"),
        args=(chunks, chunk_rows, slopes, thread_bytes),
        scratch=thread_bytes * context.n_threads,
        cost=work * NS_PER_STEP,
    )
    if chunks == 1:
        return [first]
    rows = streams * heads * tokens
    first.shared = (("attention", node.id), 4 * (wv + HEAD) * rows * chunks)
    first.makes_shared = True
    cost = rows * chunks * wv / 16 * 2 * NS_PER_STEP
    return [
        first,
        Step("FLASH_COMBINE", node, args=first.args, shared=first.shared, cost=cost),
    ]
