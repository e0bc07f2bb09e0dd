"""Payloads of requests and replies: bytes to fields and back, for one dialect.

The only way to read or write a payload outside this package. Lengths are checked against the layout before anything
is read. Fields are named as in the schema; a tensor is a TensorRecord, the tensor list of GRAPH_COMPUTE a structured
array (tensors.py), the data of SET_TENSOR and GET_TENSOR never comes here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from ggmlrpc_core.errors import LocalProtocolError, RemoteProtocolError
from ggmlrpc_core.wire.dialects import Dialect, WireCommand
from ggmlrpc_core.wire.layout import Layout
from ggmlrpc_core.wire.tensors import TensorRecord, from_wire, tensor_dtype, to_wire
from ggmlrpc_core.wire.version import ProtocolVersion

TENSOR_FIELDS = ("tensor", "src", "dst")


def check_request_size(command: WireCommand, size: int, version: ProtocolVersion) -> None:
    """Refuse a declared request length that the command cannot have.

    Raises:
        RemoteProtocolError: a fixed length differs, or a minimum is not reached.
    """
    exact = command.request.complete
    expected = command.request.size
    if size == expected if exact else size >= expected:
        return
    raise RemoteProtocolError(
        command.name,
        "request_size",
        f"{size} bytes",
        f"{expected}" if exact else f"at least {expected}",
        context=f"protocol {version}",
    )


def decode_head(dialect: Dialect, command: WireCommand, data: Any) -> dict[str, Any]:
    """Read the fixed part of a request."""
    return _canonical(dialect, command.request.unpack(data))


def decode_graph(dialect: Dialect, command: WireCommand, data: Any) -> dict[str, Any]:
    """Read a GRAPH_COMPUTE request: device, nodes (uint64 [n]) and tensors (structured [m]).

    Raises:
        RemoteProtocolError: the payload is too short for the counts in it. Trailing bytes are allowed.
    """
    fields = command.request.unpack(data)
    at, n_nodes = command.request.size, fields["n_nodes"]
    size = len(data)
    itemsize = tensor_dtype(dialect).itemsize
    if size < at + 8 * n_nodes + 4:
        raise RemoteProtocolError(
            command.name,
            "request_size",
            f"{size} bytes",
            f"at least {at + 8 * n_nodes + 4}",
            context=f"n_nodes {n_nodes}",
        )
    nodes = np.frombuffer(data, "<u8", n_nodes, at)
    at += 8 * n_nodes
    (n_tensors,) = struct.unpack_from("<I", data, at)
    at += 4
    if size < at + itemsize * n_tensors:
        raise RemoteProtocolError(
            command.name,
            "request_size",
            f"{size} bytes",
            f"at least {at + itemsize * n_tensors}",
            context=f"n_nodes {n_nodes}, n_tensors {n_tensors}",
        )
    return {
        "device": fields.get("device", 0),
        "nodes": nodes,
        "tensors": np.frombuffer(data, tensor_dtype(dialect), n_tensors, at),
    }


def encode_request(dialect: Dialect, command: WireCommand, fields: Mapping[str, Any]) -> bytes:
    """Write a request's payload without its body."""
    if command.counted:
        nodes = np.ascontiguousarray(fields["nodes"], "<u8")
        tensors = fields["tensors"]
        if not isinstance(tensors, np.ndarray):
            tensors = to_wire(dialect, list(tensors))
        head = _pack(command, command.request, {"device": 0, "n_nodes": len(nodes), **fields})
        return b"".join((head, nodes.tobytes(), struct.pack("<I", len(tensors)), tensors.tobytes()))
    return _pack(
        command,
        command.request,
        _for_dialect(dialect, {"device": 0, "cache_flag": 0, "conn_caps": b"", **fields}),
    )


def decode_reply(command: WireCommand, data: Any) -> dict[str, Any]:
    """Read a reply of fixed length."""
    assert command.reply is not None
    return command.reply.unpack(data)


def encode_reply(command: WireCommand, fields: Mapping[str, Any]) -> bytes:
    """Write a reply of fixed length; what HELLO does not use is zero."""
    assert command.reply is not None
    return _pack(command, command.reply, {"pad": 0, "conn_caps": b"", **fields})


def _pack(command: WireCommand, layout: Layout, fields: Mapping[str, Any]) -> bytes:
    try:
        return layout.pack(fields)
    except (struct.error, KeyError) as exc:
        raise LocalProtocolError(command.name, "fields", exc, "values of the schema") from exc


def _canonical(dialect: Dialect, fields: dict[str, Any]) -> dict[str, Any]:
    for name in TENSOR_FIELDS:
        if name in fields:
            fields[name] = from_wire(dialect, fields[name])
    if "srcs" in fields:
        fields["srcs"] = [from_wire(dialect, s) if s["id"] else None for s in fields["srcs"]]
    return fields


def _absent(dialect: Dialect) -> dict[str, Any]:
    return dialect.tensor.unpack(bytes(dialect.tensor.size))


def _plain(dialect: Dialect, record: TensorRecord) -> dict[str, Any]:
    row = to_wire(dialect, [record])
    return dialect.tensor.unpack(row.tobytes())


def _for_dialect(dialect: Dialect, fields: dict[str, Any]) -> dict[str, Any]:
    for name in TENSOR_FIELDS:
        if isinstance(fields.get(name), TensorRecord):
            fields[name] = _plain(dialect, fields[name])
    if "srcs" in fields:
        listed = list(fields["srcs"]) + [None] * (dialect.max_src - len(fields["srcs"]))
        fields["srcs"] = [_absent(dialect) if s is None else _plain(dialect, s) for s in listed]
    return fields
