"""Forms of ops for where MLX's own function is off."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.unary import unary_names
from ggmlrpc_core.ops.values import floats
from ggmlrpc_metal.override import Override

EXP_OVERFLOWS = 88.0
"""From here on MLX's exp on the CPU backend is infinity, though results up to 88.7 are floats."""


def corrections(mx: Any) -> tuple[Override, ...]:
    """What the device puts behind the overrides.

    Args:
        mx: the module mlx.core.
    """

    def is_exp(node: Tensor) -> bool:
        return unary_names()[node.i32(0)] == "EXP"

    def exp(node: Tensor, a: Any, **params: Any) -> Any:
        x = floats(mx, a, node.src[0])
        root = mx.exp(x * 0.5)
        return mx.where(x >= EXP_OVERFLOWS, root * root, mx.exp(x))

    return (Override("UNARY", is_exp, exp),)
