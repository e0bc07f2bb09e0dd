"""How a server lays out what it gives: addresses of buffers, room for tensors."""

from __future__ import annotations

from itertools import pairwise

from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import Mismatch
from ggmlrpc_conformance.link import Memory
from ggmlrpc_conformance.scripts.declare import scripted
from ggmlrpc_core.ggml.numbering import NEWEST

SIZES = (4096, 1, 65537, 128, 1 << 20)


@scripted("cmd.buffer_get_base.disjoint", "HANDLE-4")
def disjoint(ctx: Context) -> None:
    """Live buffers do not overlap, also after one between them was freed."""
    link = ctx.links["a"]
    live = [link.alloc(size) for size in SIZES]
    freed = live.pop(2)
    link.call("FREE_BUFFER", remote_ptr=freed.handle)
    live += [link.alloc(size) for size in (2 * freed.size, 64)]
    spans = sorted((m.base, m.base + m.size) for m in live)
    if spans[-1][1] > 1 << 64:
        raise Mismatch("addresses below 2^64", f"{spans[-1][1]:#x}")
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise Mismatch(
                "buffers that do not overlap", f"one ends at {end:#x}, the next is at {start:#x}"
            )


@scripted("cmd.get_alloc_size.sources", "SIZE-5", since="6.0.0")
def sources(ctx: Context) -> None:
    """GET_ALLOC_SIZE of a MUL_MAT does not depend on how long its sources' rows are."""
    link = ctx.links["a"]
    nowhere = Memory(0, 0, 0)
    sizes = []
    for k in (32, 4096):
        src = (
            nowhere.record(0, ggml_type="F32", ne=(k, 16), id=2),
            nowhere.record(0, ggml_type="F32", ne=(k, 4), id=3),
        )
        tensor = nowhere.record(
            0, ggml_type="F32", ne=(16, 4), op=NEWEST.ops["MUL_MAT"], src=(2, 3, *(0,) * 8)
        )
        answer = link.call("GET_ALLOC_SIZE", device=0, tensor=tensor, srcs=[*src, *(None,) * 8])
        sizes.append(answer["alloc_size"])
    if sizes[0] != sizes[1]:
        raise Mismatch(
            f"{sizes[0]} bytes for rows of any length", f"{sizes[1]} bytes for rows of 4096"
        )


CASES = (disjoint, sources)
