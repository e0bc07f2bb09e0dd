"""Write what an op's function returned into the memory of its node.

The store is the last step of a node: everything it writes was computed before, so a result may share memory with
a source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import Leading, RowUpdate, Updates
from ggmlrpc_core.ops.values import encode, raw_shape


def store(xp: Any, node: Tensor, value: Any, view: Callable[[Tensor], Any]) -> None:
    """Encode and write a result.

    Args:
        xp: array library of the values.
        node: the node that was computed.
        value: what its function returned: an array of node.shape, RowUpdate, Leading or Updates.
        view: gives the writable raw array of a tensor.
    """
    if isinstance(value, Updates):
        for slot, part in value.values.items():
            target = node if slot < 0 else node.src[slot]
            assert target is not None, "an op updates only sources that are required"
            store(xp, target, part, view)
    elif isinstance(value, RowUpdate):
        n3, n2, _ = value.rows.shape
        i3 = xp.arange(n3).reshape(n3, 1, 1)
        i2 = xp.arange(n2).reshape(1, n2, 1)
        view(node)[i3, i2, value.rows] = encode(xp, value.values, node.type)
    elif isinstance(value, Leading):
        view(node)[0, 0, 0, : value.values.shape[0]] = encode(xp, value.values, node.type)
    else:
        raw = encode(xp, value, node.type)
        assert tuple(raw.shape) == raw_shape(node), f"{node.op} returned shape {raw.shape}"
        target = view(node)
        # NumPy reads everything before it writes where the two overlap; a device copies in no order.
        if xp is not np and hasattr(xp, "may_share_memory") and xp.may_share_memory(raw, target):
            raw = raw.copy()
        target[...] = raw
