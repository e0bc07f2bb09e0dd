"""Run one node with the reference function of its op.

The functions are pure and know no memory; here their sources are read, their parameters named, and the result
stored. Nodes must have passed ops/validate.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ggmlrpc_core.errors import UnsupportedOp, clip
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import OPS
from ggmlrpc_core.ops.ids import check_ids
from ggmlrpc_core.ops.store import store


def compute(xp: Any, node: Tensor, view: Callable[[Tensor], Any]) -> Any:
    """What the op's function returns for a node; nothing is written.

    Args:
        xp: array library that `view` gives arrays of.
        node: a checked node that is not a view op.
        view: gives the raw array of a tensor (graph.views.raw_view for host memory).

    Raises:
        UnsupportedOp: the op is unknown or is never computed.
        OutOfBounds: an id in tensor data is outside its range.
    """
    op = OPS.get(node.op)
    if op is None or op.compute is None:
        raise UnsupportedOp(
            node.op,
            "op",
            node.op,
            "an op that can be computed",
            context=f"node {clip(repr(node.name))}",
        )
    sources = [None if s is None else view(s) for s in node.src[: len(op.sources)]]
    sources += [None] * (len(op.sources) - len(sources))
    params = {p.name: p.read(node) for p in op.params}
    # Overflow to infinity and NaN from NaN are results, as on every other device.
    with np.errstate(all="ignore"):
        if op.ids is not None:
            check_ids(xp, node, op.ids, sources[op.ids.slot])
        return op.compute(xp, node, *sources, **params)


def run_node(xp: Any, node: Tensor, view: Callable[[Tensor], Any]) -> None:
    """Compute a node and store the result in its memory; see compute.

    On OutOfBounds nothing was written.
    """
    value = compute(xp, node, view)
    with np.errstate(all="ignore"):
        store(xp, node, value, view)
