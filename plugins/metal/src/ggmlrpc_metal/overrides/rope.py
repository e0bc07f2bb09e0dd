"""ROPE by MLX's fused kernel, where it means the same: one position for each token, plain frequencies."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import OPS
from ggmlrpc_core.ops.rope import NEOX, NORMAL
from ggmlrpc_core.ops.values import floats
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import core


def _params(node: Tensor) -> dict[str, int | float]:
    return {p.name: p.read(node) for p in OPS["ROPE"].params}


def _plain(node: Tensor) -> bool:
    """Modes 0 and 2 without frequency factors, YaRN, amplitude or offset, for one sequence."""
    p = _params(node)
    factors = node.src[2] if len(node.src) > 2 else None
    return (
        p["mode"] in (NORMAL, NEOX)
        and factors is None
        and p["ext_factor"] == 0.0
        and p["attn_factor"] == 1.0
        and p["n_offs"] == 0
        and p["freq_base"] > 0.0
        and node.ne[3] == 1
    )


def _rope(node: Tensor, a: Any, pos: Any, freq_factors: Any, **p: Any) -> Any:
    """Tokens are the batch of MLX's kernel, so that each has a position of its own."""
    mx = core()
    x = floats(mx, a, node.src[0])[0]  # [tokens, heads, d]
    turned = mx.fast.rope(
        x[:, :, None],
        p["n_dims"],
        traditional=p["mode"] == NORMAL,
        base=p["freq_base"],
        scale=p["freq_scale"],
        offset=pos[0, 0, 0],
    )
    return turned.reshape(node.shape)


# MLX's CPU backend has no such kernel: it would compute the angles anew for every node, the op table's form only once.
ROPE = Override("ROPE", _plain, _rope, needs_gpu=True)
