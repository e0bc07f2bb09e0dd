"""One line per message for GGMLRPC_DEBUG=1: command, sizes, names. Never data."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ggmlrpc_core.engine.events import Request
from ggmlrpc_core.errors import clip
from ggmlrpc_core.wire.tensors import TensorRecord

VARIABLES = ("GGMLRPC_DEBUG", "GGML_RPC_DEBUG")
_SHOWN = ("device", "size", "offset", "value", "remote_ptr", "cache_flag", "hash")
_HEX = ("remote_ptr", "hash")


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for a line per message."""
    return any(environ.get(name, "0") not in ("", "0") for name in VARIABLES)


def request_line(request: Request) -> str:
    """A request, `> SET_TENSOR 305+4096 bytes 'blk.0.attn_q.weight' F32 ne=[64, 16, 1, 1]`."""
    fields = request.fields
    sizes = f"{request.size - request.body_size}"
    if request.body_size:
        sizes += f"+{request.body_size}"
    words = [f"> {request.command} {sizes} bytes"]
    for name in ("tensor", "src", "dst"):
        if isinstance(record := fields.get(name), TensorRecord):
            words.append(_tensor(record))
    for name in _SHOWN:
        if name in fields:
            words.append(f"{name}={fields[name]:#x}" if name in _HEX else f"{name}={fields[name]}")
    if "nodes" in fields:
        words.append(f"n_nodes={len(fields['nodes'])} n_tensors={len(fields['tensors'])}")
    return " ".join(words)


def reply_line(command: str, size: int) -> str:
    """A reply, `< GET_TENSOR 4096 bytes`."""
    return f"< {command} {size} bytes"


def _tensor(record: TensorRecord) -> str:
    shown = record.ggml_type or f"type {record.wire_type}"
    return f"{clip(repr(record.text_name))} {shown} ne={list(record.ne)}"
