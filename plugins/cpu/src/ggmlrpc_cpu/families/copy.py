"""CPY, CONT, DUP, REPEAT, PAD (kernels/copy.py)."""

from __future__ import annotations

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_cpu.families.layout import f32_rows, flat, moved, reshaped, source, tight_rows
from ggmlrpc_cpu.families.rows import ENCODED, NO_DECODER
from ggmlrpc_cpu.step import NS_PER_BYTE, Context, Step, steps_of, touched

PIECE = 4096
"""Elements of a row when a contiguous tensor is cut into rows that threads share."""


def _same_shape(node: Tensor, a: Tensor) -> tuple[Tensor, Tensor] | None:
    """Both with one shape, None when neither can take the shape of the other."""
    if node.ne == a.ne:
        return node, a
    if node.nelements != a.nelements:
        return None
    # The element order is that of each tensor's own shape, so only one without gaps may change its shape.
    if node.contiguous and (not node.type.quantized or a.ne[0] % node.type.blck_size == 0):
        return reshaped(node, a.ne), a
    if a.contiguous and (not a.type.quantized or node.ne[0] % a.type.blck_size == 0):
        return node, reshaped(a, node.ne)
    return None


def _in_pieces(tensor: Tensor) -> Tensor:
    """A contiguous tensor as rows of PIECE, or as one row."""
    n = tensor.nelements
    return reshaped(tensor, (PIECE, n // PIECE, 1, 1)) if n % PIECE == 0 else flat(tensor)


@steps_of("CPY", "CONT", "DUP", layout_only=True)
def copy(node: Tensor, context: Context) -> list[Step] | None:
    """The node's elements are those of source 0, in order."""
    a = source(node, 0)
    if a is None:
        return None
    if node.contiguous and a.contiguous and node.nelements == a.nelements:
        node_part, a_part = _in_pieces(node), _in_pieces(a)
    else:
        pair = _same_shape(node, a)
        if pair is None:
            return None
        node_part, a_part = pair
    cost = touched(node) * NS_PER_BYTE * (1 if tight_rows(a_part) else 4)
    if node.type is a.type:
        if a.type.quantized and not (tight_rows(a_part) and tight_rows(node_part)):
            return None
        size, n = a.type.type_size, a_part.ne[0] // a.type.blck_size
        return [Step("COPY", node, tensors=(node_part, a_part), args=(size, n), cost=cost)]
    if a.type.name in NO_DECODER or node.type.name not in ENCODED or not tight_rows(node_part):
        return None
    gaps = not tight_rows(a_part)
    if gaps and a.type.quantized:
        return None
    row_bytes = -(-12 * a_part.ne[0] // 64) * 64
    return [
        Step(
            "CONVERT",
            node,
            tensors=(node_part, a_part),
            row_functions=(f"to_f32:{a.type}", f"from_f32:{node.type}"),
            args=(a.type.type_size if gaps else 0, row_bytes),
            scratch=row_bytes * context.n_threads,
            cost=2 * cost,
        )
    ]


@steps_of("REPEAT", layout_only=True)
def repeat(node: Tensor, context: Context) -> list[Step] | None:
    """The node is source 0 tiled."""
    a = source(node, 0)
    if a is None or a.type is not node.type or a.type.quantized or not tight_rows(node):
        return None
    return [Step("REPEAT", node, args=(a.type.type_size,), cost=2 * node.nbytes * NS_PER_BYTE)]


@steps_of("PAD", layout_only=True)
def pad(node: Tensor, context: Context) -> list[Step] | None:
    """Source 0 with zeros around it; the wrapping kind is left to the reference."""
    a = source(node, 0)
    if a is None or a.type.name != "F32" or not f32_rows(node) or node.i32(8):
        return None
    return [Step("PAD:F32", node, cost=touched(node) * NS_PER_BYTE)]


@steps_of("CONCAT", layout_only=True)
def concat(node: Tensor, context: Context) -> list[Step] | None:
    """Two copies into parts of the node."""
    a, b = source(node, 0), source(node, 1)
    dim = node.i32(0)
    if a is None or b is None or node.type.quantized or not 0 <= dim <= 3:
        return None
    steps = []
    offset = 0
    for part in (a, b):
        if part.type is not node.type:
            return None
        if 0 not in part.ne:
            target = moved(node, offset, part.ne)
            args = (part.type.type_size, part.ne[0])
            cost = 2 * part.nbytes * NS_PER_BYTE
            steps.append(Step("COPY", node, tensors=(target, part), args=args, cost=cost))
        offset += part.ne[dim] * node.nb[dim]
    return steps
