"""The hash cache: what a hit must be. A server without a cache is not judged, because it need not have one."""

from __future__ import annotations

import time

import numpy as np

from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import Mismatch, NotApplicable, StreamEnded
from ggmlrpc_conformance.link import Link, Memory
from ggmlrpc_conformance.scripts.declare import scripted
from ggmlrpc_core.ggml.fnv import fnv1a_64
from ggmlrpc_core.wire.version import V

CHOSEN_BY_CLIENT = V(7, 0)
"""From here on the client says what to keep, and size does not matter."""
TRIES, PAUSE = 10, 0.05
"""How often it is asked for what was just uploaded, and the seconds between."""
THRESHOLD = 10 * 1024 * 1024
"""Bytes above which older servers keep an upload."""


def data_of(link: Link) -> bytes:
    """Bytes that the server keeps, the same in every run, so that a cache holds them once."""
    size = 4096 if link.dialect.version >= CHOSEN_BY_CLIENT else THRESHOLD + 4096
    return (np.arange(size, dtype=np.uint32) * 2654435761 >> 13).astype(np.uint8).tobytes()


def kept(link: Link, memory: Memory, data: bytes) -> int:
    """Upload with the wish to keep; the hash.

    Raises:
        NotApplicable: the server has no cache, or has not kept it.
    """
    link.call("SET_TENSOR", tensor=memory.record(), cache_flag=1, offset=0, data=data)
    found = fnv1a_64(data)
    for _ in range(TRIES):  # a server may write its file after it has answered
        if ask(link, memory, found):
            return found
        time.sleep(PAUSE)
    raise NotApplicable("the server has no hash cache, or kept nothing")


def ask(link: Link, memory: Memory, name: int) -> int:
    """The answer of SET_TENSOR_HASH for all of a buffer."""
    return int(link.call("SET_TENSOR_HASH", tensor=memory.record(), offset=0, hash=name)["result"])


@scripted("cmd.set_tensor_hash.hit", "HASH-2", "SET-5", needs=["SET_TENSOR_HASH"], timeout="op")
def hit(ctx: Context) -> None:
    """SET_TENSOR_HASH that answers 1 has written the bytes."""
    link = ctx.links["a"]
    data = data_of(link)
    name = kept(link, link.alloc(len(data)), data)
    other = link.alloc(len(data))
    link.call("BUFFER_CLEAR", remote_ptr=other.handle, value=0)
    if ask(link, other, name) == 0:
        raise Mismatch("result 1 again", "result 0")
    if link.get(other) != data:
        raise Mismatch("the bytes of the hash", "others")


@scripted(
    "bad.set_tensor_hash.hit-too-large", "HASH-3", "SAFE-3", needs=["SET_TENSOR_HASH"], timeout="op",
    destructive=True, ending="any",
)  # fmt: skip
def too_large(ctx: Context) -> None:
    """A hash of more bytes than the tensor has is answered 0, or closes the connection."""
    link = ctx.links["a"]
    data = data_of(link)
    name = kept(link, link.alloc(len(data)), data)
    small = link.alloc(2 * len(data))
    tensor = small.record(0, ne=(len(data) - 64,))
    try:
        result = link.call("SET_TENSOR_HASH", tensor=tensor, offset=0, hash=name)["result"]
    except StreamEnded:
        return
    if result:
        raise Mismatch("result 0, or a closed connection", f"result {result}")


@scripted(
    "bad.set_tensor_hash.hit-without-buffer", "HASH-8", "SAFE-3", needs=["SET_TENSOR_HASH"], timeout="op",
    destructive=True, ending="any",
)  # fmt: skip
def no_buffer(ctx: Context) -> None:
    """A hash that the server knows, for a tensor without a buffer, closes the connection."""
    link = ctx.links["a"]
    data = data_of(link)
    memory = link.alloc(len(data))
    name = kept(link, memory, data)
    nowhere = Memory(0, memory.base, memory.size).record()
    try:
        answer = link.call("SET_TENSOR_HASH", tensor=nowhere, offset=0, hash=name)
    except StreamEnded:
        return
    raise Mismatch("a closed connection", f"result {answer['result']}")


CASES = (hit, too_large, no_buffer)
