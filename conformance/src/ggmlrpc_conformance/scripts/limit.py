"""Large numbers: nodes, buffers, bytes; and what is left behind after many."""

from __future__ import annotations

import time

import numpy as np

from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import Mismatch, NotApplicable
from ggmlrpc_conformance.graphs import tensor_list
from ggmlrpc_conformance.link import Memory
from ggmlrpc_conformance.scripts.declare import scripted
from ggmlrpc_conformance.scripts.graphs import Scale
from ggmlrpc_core.ggml.numbering import NEWEST

MIB = 1 << 20
GIB = 1 << 30
NOISE = 48 * MIB
"""Bytes by which a process may have grown for reasons of its own."""

ATTEMPTS = 4


@scripted("limit.nodes-8192", "LIMIT-2", timeout="long")
def nodes_8192(ctx: Context) -> None:
    """A graph of 8,192 nodes is run."""
    scale = Scale(ctx.links["a"], 1.0, n_nodes=8192)
    scale.load(3.0)
    scale.compute()
    scale.check(3.0)


@scripted(
    "limit.nodes-100000", "LIMIT-2", "GRAPH-14", timeout="long", tier="full", destructive=True
)
def nodes_100000(ctx: Context) -> None:
    """A graph of 100,000 nodes is run, or closes the connection."""
    scale = Scale(ctx.links["a"], 1.0, n_nodes=100_000)
    scale.load(3.0)
    scale.compute()
    scale.check(3.0)


@scripted(
    "limit.chain-400000",
    "GRAPH-14",
    "SAFE-1",
    timeout="long",
    tier="full",
    destructive=True,
    ending="any",
)
def chain_400000(ctx: Context) -> None:
    """36: a chain of 400,000 tensors that reach one another is run or closes the connection."""
    link = ctx.links["a"]
    memory = link.alloc(4096)
    n = 400_000
    first = memory.record(0, ggml_type="F32", ne=(4,), id=1)
    node = memory.record(
        0, ggml_type="F32", ne=(4,), id=2, op=NEWEST.ops["SCALE"], flags=16, src=(1, *(0,) * 9)
    )
    two = tensor_list(link.dialect, [first, node])
    tensors = np.repeat(two[1:], n)
    tensors["id"] = np.arange(1, n + 1)
    tensors["src"][:, 0] = np.arange(n)
    tensors[0] = two[0]
    link.send("GRAPH_COMPUTE", device=0, nodes=np.array([n], "<u8"), tensors=tensors)
    if not ctx.alive(timeout=60.0):
        raise Mismatch("a server that lives", "none")


@scripted("limit.buffers-1000", "LIMIT-3", timeout="op")
def buffers_1000(ctx: Context) -> None:
    """A connection holds 1,000 live buffers, each with its own bytes."""
    link = ctx.links["a"]
    memories = [link.alloc(64) for _ in range(1000)]
    for i in (0, 1, 499, 998, 999):
        link.set(memories[i], bytes([i % 251]) * 64)
    for i in (0, 1, 499, 998, 999):
        if link.get(memories[i]) != bytes([i % 251]) * 64:
            raise Mismatch(f"64 bytes of {i % 251} in buffer {i}", "others")


@scripted("limit.upload-64-mib", "LIMIT-1", timeout="op")
def upload_64_mib(ctx: Context) -> None:
    """A buffer of 64 MiB is written and read in one message each."""
    _whole(ctx, 64 * MIB)


@scripted("limit.upload-1-gib", "LIMIT-1", timeout="long", tier="full", destructive=True)
def upload_1_gib(ctx: Context) -> None:
    """A buffer of 1 GiB is written and read in one message each."""
    _whole(ctx, GIB)


def _whole(ctx: Context, size: int) -> None:
    link = ctx.links["a"]
    memory = link.alloc(size)
    data = np.arange(size // 4, dtype="<u4").tobytes()
    link.set(memory, data)
    if link.get(memory) != data:
        raise Mismatch(f"the {size} bytes that were sent", "others")


@scripted("limit.beyond-4-gib", "ALLOC-1", "LIMIT-1", timeout="long", tier="full", destructive=True)
def beyond_4_gib(ctx: Context) -> None:
    """Bytes beyond 4 GiB of a buffer are where they were written."""
    link = ctx.links["a"]
    answer = link.call("ALLOC_BUFFER", device=ctx.device, size=5 * GIB)
    if answer["remote_ptr"] == 0:
        raise NotApplicable("the server has no 5 GiB")
    base = link.call("BUFFER_GET_BASE", remote_ptr=answer["remote_ptr"])["base_ptr"]
    memory = Memory(answer["remote_ptr"], base, 5 * GIB)
    low, high = memory.record(0, ne=(256,)), memory.record(4 * GIB, ne=(256,))
    link.call("SET_TENSOR", tensor=low, offset=0, data=b"\x01" * 256)
    link.call("SET_TENSOR", tensor=high, offset=0, data=b"\x02" * 256)
    for record, value in ((low, 1), (high, 2)):
        got = link.call("GET_TENSOR", tensor=record, offset=0, size=256)["data"]
        if got != bytes([value]) * 256:
            raise Mismatch(f"256 bytes of {value}", got[:8].hex(" "))


# --- what is left behind


def _figures(ctx: Context) -> tuple[int, int | None]:
    """Free memory as answered, and resident bytes where the suite knows the process."""
    return ctx.links["a"].call("GET_DEVICE_MEMORY", device=ctx.device)["free_mem"], ctx.target.rss()


def _check_figures(ctx: Context, before: tuple[int, int | None], *, allowed: int) -> None:
    """Wait a moment for the figures of before; memory of the system moves by itself."""
    deadline = time.monotonic() + 2.0
    while True:
        free, rss = _figures(ctx)
        grown = 0 if rss is None or before[1] is None else rss - before[1]
        lost = before[0] - free
        # without a process to look at, what is free is all that can be known
        if grown <= allowed and (rss is not None or lost <= max(allowed, before[0] // 50)):
            return
        if time.monotonic() > deadline:
            raise Mismatch(
                f"at most {allowed} bytes more than before",
                f"{grown} resident bytes more, {lost} bytes less free",
            )
        time.sleep(0.05)


@scripted("leak.ended-connections", "CONN-3", "LIMIT-5", timeout="op", hello=False)
def ended_connections(ctx: Context) -> None:
    """Memory of connections that end without freeing it is free again."""
    ctx.connect("a")
    before = _figures(ctx)
    for _ in range(6):
        ctx.links["a"].close()
        link = ctx.connect("a")
        memory = link.alloc(64 * MIB)
        link.call("BUFFER_CLEAR", remote_ptr=memory.handle, value=1)
        link.barrier()
    ctx.links["a"].close()
    ctx.connect("a")
    _check_figures(ctx, before, allowed=NOISE + 64 * MIB)


@scripted("leak.buffers", "LIMIT-5", "FREE-1", timeout="long")
def buffers(ctx: Context) -> None:
    """After 500 buffers of 1 MiB that were freed, memory is what it was."""
    link = ctx.links["a"]
    before = _figures(ctx)
    for _ in range(500):
        answer = link.call("ALLOC_BUFFER", device=ctx.device, size=MIB)
        if answer["remote_ptr"] == 0:
            raise Mismatch("a buffer of 1 MiB", "none")
        link.call("FREE_BUFFER", remote_ptr=answer["remote_ptr"])
    _check_figures(ctx, before, allowed=NOISE)


@scripted("leak.connections", "LIMIT-5", "CONN-2", timeout="long", hello=False)
def connections(ctx: Context) -> None:
    """After 100 connections memory is what it was."""
    ctx.connect("a").barrier()
    before = _figures(ctx)
    for _ in range(100):
        ctx.links["a"].close()
        ctx.connect("a").barrier()
    _check_figures(ctx, before, allowed=NOISE)


@scripted("leak.graphs", "LIMIT-5", timeout="long")
def graphs(ctx: Context) -> None:
    """After 100 different graphs memory is what it was."""
    link = ctx.links["a"]
    scale = Scale(link, 2.0)
    scale.load(1.0)
    scale.compute()
    scale.check(2.0)
    before = _figures(ctx)
    for i in range(100):
        other = Scale(link, 1.0 + i, n=256)
        other.load(1.0)
        other.compute()
        link.call("FREE_BUFFER", remote_ptr=other.memory.handle)
    _check_figures(ctx, before, allowed=NOISE)


@scripted("limit.free-memory-falls", "DEV-7", "FREE-1", timeout="op")
def free_memory_falls(ctx: Context) -> None:
    """Free memory falls when a buffer is made and used, and comes back when it is freed."""
    link = ctx.links["a"]
    falls = []
    for _ in range(ATTEMPTS):  # others use the memory of the machine too
        free0 = link.call("GET_DEVICE_MEMORY", device=ctx.device)["free_mem"]
        size = min(256 * MIB, free0 // 8)
        memory = link.alloc(size, device=ctx.device)
        link.call("BUFFER_CLEAR", remote_ptr=memory.handle, value=1)
        free1 = link.call("GET_DEVICE_MEMORY", device=ctx.device)["free_mem"]
        link.call("FREE_BUFFER", remote_ptr=memory.handle)
        falls.append(free0 - free1)
        if falls[-1] >= size // 2:
            return
    raise Mismatch(f"about {size} bytes less free", f"{falls} less in {ATTEMPTS} attempts")


CASES = (
    nodes_8192,
    nodes_100000,
    chain_400000,
    buffers_1000,
    upload_64_mib,
    upload_1_gib,
    beyond_4_gib,
    free_memory_falls,
    ended_connections,
    buffers,
    connections,
    graphs,
)
