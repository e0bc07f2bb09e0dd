"""Which nodes are traced and which are host stages, and about how long a node takes. No MLX here."""

from __future__ import annotations

from types import MappingProxyType

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import raw_layout
from ggmlrpc_metal.layout import LONGEST, aligned, root_of
from ggmlrpc_metal.override import Override

HOST_OPS: MappingProxyType[str, str] = MappingProxyType(
    {
        "GET_ROWS_BACK": "its order of additions depends on ids",
        "MUL_MAT_ID": "experts are chosen by ids",
        "OPT_STEP_ADAMW": "it writes its sources",
        "OPT_STEP_SGD": "it writes its sources",
    }
)
"""Ops that cannot be traced in the form of the op table, with the reason."""
CPU_ONLY = frozenset({"F64"})
"""Types that MLX has on its CPU backend only."""
WIDE = frozenset({"F64", "I64"})
"""Types that a GPU cannot scatter."""
NODE_SECONDS = 4e-6
SPEED = {False: (4e9, 4e9), True: (1e12, 6e10)}
"""Operations and bytes per second, on the CPU backend and on a small GPU: only to cut a graph, see plan.py."""


def host_reason(node: Tensor, override: Override | None, *, gpu: bool) -> str:
    """Why a node is a host stage; "" when it is traced."""
    if override is None and node.op in HOST_OPS:
        return HOST_OPS[node.op]
    for tensor in (node, *node.src):
        if tensor is None:
            continue
        if gpu and tensor.type.name in CPU_ONLY:
            return f"{tensor.type} is unknown to the GPU"
        if not aligned(tensor):
            return "a tensor is not aligned to its elements"
        if tensor.nbytes > LONGEST and not _in_words(tensor):
            return "a tensor of over 2 GiB has rows that are not multiples of 8 bytes"
    if node.op == "SET_ROWS" and not _rows_in_steps(node):
        return "rows are not at multiples of a step"
    if gpu and node.type.name in WIDE and (node.op == "SET_ROWS" or not node.contiguous):
        return f"a GPU does not scatter {node.type}"
    return ""


def _in_words(tensor: Tensor) -> bool:
    """Whether a large tensor can be read from an extent of 64-bit words (lower.py)."""
    dtype, shape, _ = raw_layout(tensor.type, tensor.ne, tensor.nb)
    owner = root_of(tensor)
    row = shape[-1] * dtype.itemsize
    return tensor.contiguous and row % 8 == 0 and (tensor.offset - owner.offset) % 8 == 0


def _rows_in_steps(node: Tensor) -> bool:
    """Whether the memory that SET_ROWS updates is a table whose rows start at multiples of nb[1]."""
    dtype, shape, strides = raw_layout(node.type, node.ne, node.nb)
    owner, step = root_of(node), node.nb[1]
    rest = (
        node.offset - owner.offset,
        owner.nbytes,
        strides[0] * (shape[0] > 1),
        strides[1] * (shape[1] > 1),
    )
    dense = shape[-1] == 1 or strides[-1] == dtype.itemsize
    return dense and step >= shape[-1] * dtype.itemsize and all(n % step == 0 for n in rest)


def seconds(node: Tensor, *, gpu: bool) -> float:
    """A rough time of a node, to cut a graph into stages before anything was measured."""
    operations, transfer = SPEED[gpu]
    moved = node.nbytes + sum(s.nbytes for s in node.src if s is not None)
    work = 0.0
    first = node.src[0] if node.src else None
    if first is not None and node.op in ("MUL_MAT", "MUL_MAT_ID", "OUT_PROD"):
        # A quantized weight costs about ten operations to decode.
        work = 2.0 * first.ne[0] * node.nelements + 10.0 * first.nelements * first.type.quantized
    elif first is not None and node.op == "FLASH_ATTN_EXT":
        keys = node.src[1]
        work = 4.0 * first.nelements * (keys.ne[1] if keys is not None else 1)
    elif first is not None and node.op.startswith("CONV"):
        other = node.src[1]
        work = 2.0 * node.nelements * min(first.nelements, other.nelements if other else 1)
    return NODE_SECONDS + work / operations + moved / transfer
