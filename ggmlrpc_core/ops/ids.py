"""The run-time check of indices that are tensor data (row numbers, expert numbers).

Which source of an op holds indices is part of its declaration. The functions of the ops trust the indices;
whoever runs them calls `check_ids` first.
"""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.errors import OutOfBounds, clip
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import Ids


def check_ids(xp: Any, node: Tensor, ids: Ids, raw: Any) -> None:
    """Refuse ids outside [0, limit).

    Args:
        xp: array library of `raw`.
        node: the node about to run.
        ids: its declaration.
        raw: raw array of the source that holds the ids; I32 or I64.

    Raises:
        OutOfBounds: naming the smallest id if it is negative, else the largest.
    """
    if 0 in raw.shape:
        return
    limit = ids.limit(node)
    for found in (int(xp.min(raw)), int(xp.max(raw))):
        if not 0 <= found < limit:
            raise OutOfBounds(
                node.op,
                f"an id in src[{ids.slot}]",
                found,
                f"inside [0, {limit})",
                context=f"node {clip(repr(node.name))}",
            )
