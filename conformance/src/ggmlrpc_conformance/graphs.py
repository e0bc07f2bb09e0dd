"""Graphs on the wire: records to the tensor list of GRAPH_COMPUTE in a dialect, and built tensors to records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ggmlrpc_conformance.faults import NotApplicable
from ggmlrpc_conformance.link import Memory
from ggmlrpc_core.errors import UnsupportedOp
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build import message_order
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import TensorRecord, tensor_dtype
from ggmlrpc_core.wire.translate import translation

_COLUMNS = (
    "id", "type", "buffer", "ne", "nb", "op", "op_params", "flags", "view_src", "view_offs", "data",
)  # fmt: skip


def tensor_list(dialect: Dialect, records: Sequence[TensorRecord]) -> np.ndarray:
    """The structured array of a graph's tensors, in the dialect's numbers and forms.

    Raises:
        NotApplicable: the dialect cannot say one of them.
    """
    array = np.zeros(len(records), tensor_dtype(dialect))
    if not records:
        return array
    for name in _COLUMNS:
        array[name] = [getattr(r, name) for r in records]
    array["src"][:, :10] = [r.src for r in records]
    array["name"] = [r.name[: dialect.max_name - 1] for r in records]
    if "use_count" in (array.dtype.names or ()):
        array["use_count"] = [r.use_count for r in records]
    try:
        translation(dialect).graph_to_dialect(array)
    except KeyError as exc:
        raise NotApplicable(f"{dialect.name} has no {exc.args[0]}") from exc
    except UnsupportedOp as exc:
        raise NotApplicable(f"{dialect.name}: {exc}") from exc
    return array


def graph_fields(
    dialect: Dialect, nodes: Sequence[Tensor], memory: Memory, *, device: int = 0
) -> dict[str, object]:
    """The fields of GRAPH_COMPUTE for nodes that all live in one buffer."""
    tensors = message_order(nodes)
    ids = {id(t): row for row, t in enumerate(tensors, start=1)}
    records = [
        TensorRecord(
            id=ids[id(t)],
            type=t.type.id,
            ne=t.ne,
            nb=t.nb,
            buffer=memory.handle,
            op=NEWEST.ops[t.op],
            op_params=t.op_params,
            flags=t.flags,
            src=(*(0 if s is None else ids[id(s)] for s in t.src), *(0,) * 10)[:10],
            view_src=0 if t.view_src is None else ids[id(t.view_src)],
            view_offs=t.view_offs,
            data=memory.base + t.offset,
            name=t.name.encode(),
            use_count=t.use_count,
        )
        for t in tensors
    ]
    return {
        "device": device,
        "nodes": np.array([ids[id(n)] for n in nodes], "<u8"),
        "tensors": tensor_list(dialect, records),
    }
