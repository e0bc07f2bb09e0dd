"""Faster forms of ops than the shared table's; see override.py for what one is.

What is not here is computed by the op table on MLX arrays.
"""

from __future__ import annotations

from ggmlrpc_metal.override import Fusion, Override
from ggmlrpc_metal.overrides import (
    attention,
    mul_mat,
    mul_mat_id,
    norm,
    packed,
    recurrent,
    rope,
    rows,
    softmax,
)

ALL: tuple[Override, ...] = (
    mul_mat.IN_PLACE,
    packed.MUL_MAT,
    *mul_mat.DECODED,
    mul_mat_id.IN_PLACE,
    packed.MUL_MAT_ID,
    *mul_mat_id.DECODED,
    *attention.ATTENTION,
    *norm.NORMS,
    rope.ROPE,
    softmax.SOFT_MAX,
    rows.GET_ROWS,
    *recurrent.RECURRENT,
)
"""Every override; of several that accept a node the first is taken."""

FUSIONS: tuple[Fusion, ...] = (norm.WEIGHTED,)
"""Pairs of nodes that are one function."""

__all__ = ["ALL", "FUSIONS"]
