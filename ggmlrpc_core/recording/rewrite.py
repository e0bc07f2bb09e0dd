"""Requests and answers with the handles and addresses of the other side: virtual to the server's, and back.

Only typed fields are changed, never bytes that look like a handle. Knows no socket.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np

from ggmlrpc_core.recording.messages import HANDLES, spans
from ggmlrpc_core.recording.space import Rebinder
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import Dialect, WireCommand

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


@cache
def _places(dialect: Dialect, command: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Offsets of handles, and (offset, number) of tensors, in the fixed part of a request."""
    wire = dialect.by_name[command]
    found = spans(wire.request)
    inner = {f.name for f in wire.request.fields if f.inner}
    handles = tuple(at for name, at, _, _ in found if name in HANDLES)
    tensors = tuple((at, count) for name, at, _, count in found if name in inner)
    return handles, tensors


def to_server(dialect: Dialect, wire: WireCommand, payload: bytearray, rebinder: Rebinder) -> None:
    """Rewrite a request in place; one that the schema does not explain is left as far as it does not."""
    handles, tensors = _places(dialect, wire.name)
    for at in handles:
        if at + 8 <= len(payload):
            (handle,) = _U64.unpack_from(payload, at)
            _U64.pack_into(payload, at, rebinder.handle(handle))
    dtype = codec.tensor_dtype(dialect)
    regions = list(tensors)
    if wire.counted and (region := _graph_region(wire, payload, dtype.itemsize)) is not None:
        regions.append(region)
    for at, count in regions:
        if count and at + count * dtype.itemsize <= len(payload):
            rebinder.tensors(np.frombuffer(payload, dtype, count, at))


def _graph_region(wire: WireCommand, payload: bytearray, itemsize: int) -> tuple[int, int] | None:
    """Where the tensors of a graph are, and how many there are room for."""
    at = wire.request.size
    if len(payload) < at:
        return None
    n_nodes = _U32.unpack_from(payload, at - 4)[0]
    at += 8 * n_nodes
    if len(payload) < at + 4:
        return None
    n_tensors = _U32.unpack_from(payload, at)[0]
    return at + 4, min(n_tensors, (len(payload) - at - 4) // itemsize)


def device_of(wire: WireCommand, payload: bytes) -> int:
    """The device of a request, 0 where it has none."""
    for name, at, _, _ in spans(wire.request):
        if name == "device" and at + 4 <= len(payload):
            return int(_U32.unpack_from(payload, at)[0])
    return 0


def handle_of(wire: WireCommand, payload: bytes) -> int:
    """The handle of a request, 0 where it has none."""
    for name, at, _, _ in spans(wire.request):
        if name in HANDLES and at + 8 <= len(payload):
            return int(_U64.unpack_from(payload, at)[0])
    return 0
