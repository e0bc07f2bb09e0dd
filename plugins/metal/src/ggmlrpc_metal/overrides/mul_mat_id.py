"""MUL_MAT_ID: for each token and used slot the product of one expert's rows with a row of x.

A pair is a token and a slot; pair (t, j) takes row j % B1 of token t of source 1, and expert ids[t, j]. Ids stay on the
device: they were bounded before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import floats, present
from ggmlrpc_metal import kernels
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import any_node, core
from ggmlrpc_metal.overrides.weights import (
    Decode,
    decode_by_kernel,
    decode_by_library,
    readable_in_place,
    row_tiles,
)

FEW_PAIRS = 64
"""Most pairs that the kernel is used for: it reads an expert once for every pair."""


def n_pairs(node: Tensor) -> int:
    """Tokens times used slots."""
    return node.ne[1] * node.ne[2]


def x_rows(node: Tensor) -> np.ndarray:
    """The row of source 1, all tokens in one matrix, that each pair takes: int32 [pairs]."""
    b1 = present(node.src[1]).ne[1]
    token, slot = np.arange(node.ne[2])[:, None], np.arange(node.ne[1])[None, :]
    return (token * b1 + slot % b1).reshape(-1).astype(np.int32)


def _few_pairs(node: Tensor) -> bool:
    return n_pairs(node) <= FEW_PAIRS and readable_in_place(present(node.src[0]))


def _in_place(node: Tensor, experts: Any, b: Any, ids: Any, **_: int) -> Any:
    """Read the experts where they lie."""
    mx = core()
    x = floats(mx, b, node.src[1])
    got = kernels.mul_mat_id(
        mx,
        present(node.src[0]).type.name,
        experts,
        x.reshape(-1, x.shape[-1]),
        ids.reshape(-1),
        x_rows=mx.array(x_rows(node)),
    )
    return got.reshape(node.shape)


def _decoded(decode: Decode) -> Any:
    def compute(node: Tensor, experts: Any, b: Any, ids: Any, **_: int) -> Any:
        """Decode the chosen experts when they are few, else all of them, tile by tile."""
        mx = core()
        weight = present(node.src[0])
        x = floats(mx, b, node.src[1])
        x = x.reshape(-1, 1, x.shape[-1])[mx.array(x_rows(node))]
        chosen = ids.reshape(-1)
        if n_pairs(node) <= weight.ne[2]:
            experts = experts[:, chosen]
            chosen = mx.arange(n_pairs(node), dtype=mx.int32)
        parts = []
        for tile in row_tiles(experts, x.shape[-1]):
            rows = decode(mx, experts[:, :, tile], weight)[0]
            parts.append(mx.gather_mm(x, mx.swapaxes(rows, 1, 2), rhs_indices=chosen))
        found = parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=-1)
        return found.reshape(node.shape)

    return compute


def _kernel_decodes(node: Tensor) -> bool:
    return readable_in_place(present(node.src[0]))


IN_PLACE = Override("MUL_MAT_ID", _few_pairs, _in_place, needs_gpu=True)
DECODED = (
    Override("MUL_MAT_ID", _kernel_decodes, _decoded(decode_by_kernel), needs_gpu=True),
    Override("MUL_MAT_ID", any_node, _decoded(decode_by_library)),
)
