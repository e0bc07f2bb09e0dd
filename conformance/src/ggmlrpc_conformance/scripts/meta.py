"""The suite about itself: the server lives and is sane at the first case and at the last."""

from __future__ import annotations

from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import Mismatch
from ggmlrpc_conformance.scripts.declare import scripted
from ggmlrpc_conformance.scripts.graphs import Scale


def sane(ctx: Context) -> None:
    """One graph, there and back."""
    scale = Scale(ctx.links["a"], 2.0)
    scale.load(21.0)
    scale.compute()
    scale.check(42.0)
    link = ctx.links["a"]
    memory = link.alloc(1000)
    link.set(memory, bytes(range(250)) * 4)
    if link.get(memory) != bytes(range(250)) * 4:
        raise Mismatch("the bytes that were sent", "others")


@scripted("meta.sanity-first", "CONN-2", "FRAME-2", "GRAPH-1", tier="smoke", timeout="op")
def first(ctx: Context) -> None:
    """The server computes and keeps bytes before anything else."""
    sane(ctx)


@scripted("meta.sanity-last", "CONN-2", "FRAME-2", "GRAPH-1", tier="smoke", timeout="op")
def last(ctx: Context) -> None:
    """The server still computes and keeps bytes after everything else."""
    sane(ctx)


CASES = (first, last)
