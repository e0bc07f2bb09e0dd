"""From tensors of the wire to tensors in buffers: types, extents and addresses, checked.

A peer names memory by a handle and an address; what comes out names a buffer object and an offset, and every byte of
the tensor is inside the buffer. Source of the rules: docs/reference/protocol, deserialising a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ggmlrpc_core.errors import RemoteProtocolError, clip
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.tensor import Tensor, nbytes_of
from ggmlrpc_core.wire.tensors import TensorRecord

_OP_NAMES = {number: name for name, number in NEWEST.ops.items()}


class Bound(NamedTuple):
    """A buffer of a session as a peer sees it.

    Attributes:
        buffer: the device's Buffer, or what stands for it.
        base: virtual address of its first byte.
        size: bytes.
    """

    buffer: Any
    base: int
    size: int


Resolve = Callable[[int], Bound | None]
"""Handle to buffer; None for a handle that the session does not own."""


def bind_tensor(command: str, record: TensorRecord, resolve: Resolve) -> Tensor:
    """Check one tensor of a request and place it.

    Args:
        command: for the error sentence.
        record: from the wire.
        resolve: handles of the session.

    Returns:
        The tensor; `buffer` is None when its handle is 0 or unknown, as the stock server has it.

    Raises:
        RemoteProtocolError: dead type, rows that are not whole blocks, or bytes outside the buffer.
    """
    ggml_type = record.ggml_type
    if ggml_type is None:
        raise RemoteProtocolError(
            command, "tensor.type", record.wire_type, "a live type", context=_named(record)
        )
    ne, nb = record.ne, record.nb
    if ne[0] % ggml_type.blck_size:
        raise RemoteProtocolError(
            command,
            "tensor.ne[0]",
            ne[0],
            f"a multiple of {ggml_type.blck_size}",
            context=f"{ggml_type}, {_named(record)}",
        )
    nbytes = nbytes_of(ggml_type, ne, nb)
    bound = resolve(record.buffer) if record.buffer else None
    offset = 0
    if bound is not None:
        offset = record.data - bound.base
        if offset < 0 or offset + nbytes > bound.size:
            raise RemoteProtocolError(
                command,
                "tensor region",
                f"[{record.data:#x}, {record.data + nbytes:#x})",
                f"inside [{bound.base:#x}, {bound.base + bound.size:#x})",
                context=_named(record),
            )
    return Tensor(
        id=record.id,
        type=ggml_type,
        ne=ne,
        nb=nb,
        op=_OP_NAMES.get(record.op, "NONE"),
        op_params=record.op_params,
        flags=record.flags,
        buffer=None if bound is None else bound.buffer,
        offset=offset,
        name=record.text_name,
    )


def _named(record: TensorRecord) -> str:
    return f"tensor {clip(repr(record.text_name))}"
