"""How an op gets a faster form than the shared table's: what overrides/ declares, and how a plan picks one.

An override has the signature of the table's function without `xp`, on mlx arrays: pure, no evaluation, no host read
(it runs while a stage is traced). Ids have been range-checked before it is called. Knows no buffer and no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ggmlrpc_core.graph.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Override:
    """A faster form of one op for some nodes.

    Attributes:
        op: canonical name.
        accepts: whether it computes a node, told from shapes, types and parameters alone.
        compute: `compute(node, *raw_arrays, **params)`; returns what a function of the op table may return.
        needs_gpu: it calls a metal_kernel, which MLX's CPU backend cannot run.
    """

    op: str
    accepts: Callable[[Tensor], bool]
    compute: Callable[..., Any]
    needs_gpu: bool = False


@dataclass(frozen=True, slots=True)
class Fusion:
    """A node and the one that computes its source 0, as one function.

    Attributes:
        first: op of the node whose result is source 0.
        second: op of the node that is computed.
        accepts: `accepts(first, second)`: whether it computes both, told from shapes, types and use counts.
        compute: `compute(first, second, source 0 of first, source 1 of second)`; gives the result of the second.
    """

    first: str
    second: str
    accepts: Callable[[Tensor, Tensor], bool]
    compute: Callable[..., Any]


def find_override(overrides: Iterable[Override], node: Tensor, *, gpu: bool) -> Override | None:
    """The first override that computes a node on this kind of device; None for the op table."""
    for one in overrides:
        if one.op == node.op and (gpu or not one.needs_gpu) and one.accepts(node):
            return one
    return None


def find_fusion(fusions: Iterable[Fusion], first: Tensor, second: Tensor) -> Fusion | None:
    """The first fusion of two nodes, the second of which reads the first as source 0; None for none."""
    for one in fusions:
        if (one.first, one.second) == (first.op, second.op) and one.accepts(first, second):
            return one
    return None
