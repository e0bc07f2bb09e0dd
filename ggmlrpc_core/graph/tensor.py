"""A tensor and a graph as devices and ops see them: canonical names, resolved sources, bound buffers.

No device, no socket, no wire numbers. How a graph message becomes these objects is in parse.py; how a
client makes them is in build.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ggmlrpc_core.ggml.types import GgmlType

MAX_DIMS = 4
MAX_SRC = 10
N_OP_PARAMS = 16

VIEW_OPS = frozenset({"NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"})
"""Ops that no backend computes: they only name bytes that are already there."""

FLAG_INPUT, FLAG_OUTPUT, FLAG_PARAM, FLAG_LOSS, FLAG_COMPUTE = 1, 2, 4, 8, 16

NO_PARAMS = (0,) * N_OP_PARAMS


def nbytes_of(ggml_type: GgmlType, ne: Sequence[int], nb: Sequence[int]) -> int:
    """Bytes from the first to the last byte of a tensor, as ggml_nbytes counts them.

    0 when an extent is 0. Source: ggml.c ggml_nbytes.
    """
    ne0, ne1, ne2, ne3 = ne
    if not (ne0 and ne1 and ne2 and ne3):
        return 0
    nb0, nb1, nb2, nb3 = nb
    upper = (ne1 - 1) * nb1 + (ne2 - 1) * nb2 + (ne3 - 1) * nb3
    if ggml_type.blck_size == 1:
        return ggml_type.type_size + (ne0 - 1) * nb0 + upper
    return ne0 * nb0 // ggml_type.blck_size + upper


def contiguous_nb(ggml_type: GgmlType, ne: Sequence[int]) -> tuple[int, int, int, int]:
    """The strides in bytes of a tensor without gaps."""
    nb1 = ggml_type.row_size(ne[0])
    return (ggml_type.type_size, nb1, nb1 * ne[1], nb1 * ne[1] * ne[2])


@dataclass(slots=True, eq=False, repr=False)
class Tensor:
    """One tensor, which is also a graph node when `op` is not a view op.

    Attributes:
        id: name of the tensor in its graph; never 0.
        type: a GgmlType.
        ne: elements per dimension, ne[0] fastest, length 4.
        nb: stride in bytes per dimension, length 4.
        op: canonical op name, "MUL_MAT".
        op_params: 16 int32, canonical (newest) meaning; floats are stored bit for bit.
        flags: FLAG_* bits.
        src: sources; None where a slot is empty; trailing empty slots are cut.
        view_src: the tensor whose memory this one is part of, or None.
        view_offs: byte offset in view_src.
        buffer: the device buffer that holds it (whatever Device.alloc returned), None when unbound.
        offset: byte offset of the first element in `buffer`.
        name: as the client called it.
        use_count: readers inside the client's graph; 0 when unknown.
    """

    id: int
    type: GgmlType
    ne: tuple[int, int, int, int]
    nb: tuple[int, int, int, int]
    op: str = "NONE"
    op_params: tuple[int, ...] = NO_PARAMS
    flags: int = 0
    src: tuple[Tensor | None, ...] = ()
    view_src: Tensor | None = None
    view_offs: int = 0
    buffer: Any = None
    offset: int = 0
    name: str = ""
    use_count: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes spanned in the buffer, gaps included."""
        return nbytes_of(self.type, self.ne, self.nb)

    @property
    def nelements(self) -> int:
        """Number of elements."""
        return self.ne[0] * self.ne[1] * self.ne[2] * self.ne[3]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """NumPy order: ne reversed."""
        return self.ne[::-1]

    @property
    def contiguous(self) -> bool:
        """No gaps and no permutation; dimensions of one element do not count."""
        expected = self.type.type_size
        if self.ne[0] != self.type.blck_size and self.nb[0] != expected:
            return False
        expected = expected * (self.ne[0] // self.type.blck_size)
        for n, b in zip(self.ne[1:], self.nb[1:]):
            if n != 1:
                if b != expected:
                    return False
                expected *= n
        return True

    def i32(self, slot: int) -> int:
        """op_params[slot] as a signed integer."""
        return self.op_params[slot]

    def f32(self, slot: int) -> float:
        """op_params[slot] read as the bits of a float."""
        return struct.unpack("<f", struct.pack("<i", self.op_params[slot]))[0]

    def __repr__(self) -> str:
        return f"<{self.op} {self.name!r} {self.type} ne={list(self.ne)}>"


@dataclass(slots=True, eq=False)
class Graph:
    """Nodes in compute order, checked and bound to buffers.

    Attributes:
        nodes: what the client listed; view ops included. A device computes `work` only.
        key: digest of everything that decides what running the graph does (ops, shapes, types, parameters,
            buffers, offsets), not of names. Equal keys mean an equal plan.
    """

    nodes: list[Tensor]
    key: bytes = b""
    work: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.work = [
            n
            for n in self.nodes
            if n.op not in VIEW_OPS and 0 not in n.ne and n.flags & FLAG_COMPUTE
        ]
