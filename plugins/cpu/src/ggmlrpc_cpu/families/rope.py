"""ROPE (kernels/rope.py): one step for the angles, which layers share, one for the rotation."""

from __future__ import annotations

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.rope import AXES_BIT, NORMAL, VISION, pair_table, yarn_ramp
from ggmlrpc_cpu.families.layout import source, tight_rows
from ggmlrpc_cpu.step import NS_PER_BYTE, Context, Step, steps_of, touched

ANGLE_COST = 60.0
"""Nanoseconds for the sine and cosine of one pair."""


def _place(tensor: Tensor | None) -> tuple[object, ...] | None:
    """What decides which numbers a tensor holds."""
    return None if tensor is None else (id(tensor.buffer), tensor.offset, tensor.ne, tensor.nb)


@steps_of("ROPE")
def rope(node: Tensor, context: Context) -> list[Step] | None:
    """Rotate pairs of each row."""
    a, pos, factors = source(node, 0), source(node, 1), source(node, 2)
    if a is None or pos is None or not tight_rows(a) or not tight_rows(node):
        return None
    if a.type is not node.type or a.type.name not in ("F32", "F16"):
        return None
    n_dims, mode = node.i32(1), node.i32(2)
    pairs = (node.ne[0] if mode == VISION else n_dims) // 2
    tokens = node.ne[2]
    key = ("rope", pairs, tokens, node.op_params, _place(pos), _place(factors))
    shared = (key, 8 * pairs * tokens)
    axes, powers = pair_table(mode, pairs, tuple(node.i32(s) for s in (11, 12, 13, 14)))
    freq_base, freq_scale, ext_factor = node.f32(5), node.f32(6), node.f32(7)
    magnitude = node.f32(8)
    mix = np.zeros(pairs, np.float64)
    if ext_factor != 0.0:
        mix = ext_factor * yarn_ramp(
            pairs,
            n_dims=n_dims,
            n_ctx_orig=node.i32(4),
            freq_base=freq_base,
            beta_fast=node.f32(9),
            beta_slow=node.f32(10),
        )
        magnitude *= 1.0 + 0.1 * float(np.log(1.0 / np.float64(freq_scale)))
    with np.errstate(all="ignore"):
        steps = np.float64(freq_base) ** (-2.0 * powers / n_dims)
    assert mode & AXES_BIT or not axes.any()
    return [
        Step(
            "ROPE_ANGLES",
            node,
            tensors=(None, pos, factors),
            args=(
                pairs,
                tokens,
                np.ascontiguousarray(steps, np.float64),
                np.ascontiguousarray(axes, np.int64),
                np.ascontiguousarray(mix, np.float64),
                np.array([freq_scale, magnitude], np.float64),
            ),
            shared=shared,
            makes_shared=True,
            keeps=True,
            cost=pairs * tokens * ANGLE_COST,
        ),
        Step(
            f"ROPE:{a.type}",
            node,
            args=(pairs, node.i32(15), int(mode == NORMAL)),
            shared=shared,
            keeps=True,
            cost=touched(node) * NS_PER_BYTE,
        ),
    ]
