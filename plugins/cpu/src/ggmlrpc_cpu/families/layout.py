"""Small questions about the layout of tensors that families ask."""

from __future__ import annotations

from ggmlrpc_core.graph.tensor import Tensor, contiguous_nb

Quad = tuple[int, int, int, int]


def tight_rows(tensor: Tensor | None) -> bool:
    """No gaps between the elements of a row."""
    return tensor is None or tensor.nb[0] == tensor.type.type_size or tensor.ne[0] == 1


def f32_rows(*tensors: Tensor | None) -> bool:
    """Every tensor that is there is F32 with tight rows."""
    return all(t is None or (t.type.name == "F32" and tight_rows(t)) for t in tensors)


def source(node: Tensor, slot: int) -> Tensor | None:
    """A source, None when the slot is empty."""
    return node.src[slot] if slot < len(node.src) else None


def _place(tensor: Tensor, offset: int, ne: Quad, nb: Quad) -> Tensor:
    """Bytes of a tensor's buffer; written out because dataclasses.replace costs more than a family may take."""
    return Tensor(tensor.id, tensor.type, ne, nb, buffer=tensor.buffer, offset=offset)


def reshaped(tensor: Tensor, ne: tuple[int, int, int, int]) -> Tensor:
    """The same bytes of a contiguous tensor with other extents."""
    return _place(tensor, tensor.offset, ne, contiguous_nb(tensor.type, ne))


def moved(tensor: Tensor, offset: int, ne: tuple[int, int, int, int]) -> Tensor:
    """A part of a tensor with its strides, `offset` bytes further on."""
    return _place(tensor, tensor.offset + offset, ne, tensor.nb)


def flat(tensor: Tensor) -> Tensor:
    """A contiguous tensor as one row."""
    n = tensor.nelements
    size = tensor.type.row_size(n)
    return _place(tensor, tensor.offset, (n, 1, 1, 1), (tensor.type.type_size, size, size, size))


def same_or_apart(a: Tensor, b: Tensor) -> bool:
    """Two tensors lie on the very same bytes in the same order, or share none."""
    low, high = a.buffer.address + a.offset, b.buffer.address + b.offset
    if low == high and a.nb == b.nb:
        return True
    return low + a.nbytes <= high or high + b.nbytes <= low
