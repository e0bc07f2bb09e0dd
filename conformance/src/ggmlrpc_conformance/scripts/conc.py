"""Several clients at once."""

from __future__ import annotations

from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import Mismatch, NoAnswer, NotApplicable
from ggmlrpc_conformance.link import Link
from ggmlrpc_conformance.scripts.declare import scripted
from ggmlrpc_conformance.scripts.graphs import Scale, heavy


def several(ctx: Context, n: int) -> list[Link]:
    """n connections beside "a", each greeted while the others are open.

    Raises:
        NotApplicable: clients take turns here; conc.second-client judges that.
    """
    if ctx.serves_several is False:
        raise NotApplicable("the server serves one client at a time (conc.second-client)")
    return [ctx.connect() for _ in range(n)]


@scripted("conc.second-client", "CONN-6", tier="smoke")
def second_client(ctx: Context) -> None:
    """A second client is answered while the first is idle."""
    link = ctx.connect("b", hello=False)
    try:
        link.hello()
        link.barrier()
    except NoAnswer:
        ctx.links["a"].close()  # its turn comes; to leave before the answer ends some servers
        link.sock.timeout = max(ctx.timeout, 10.0)
        link.answer("HELLO" if "HELLO" in link.dialect.by_name else "GET_DEVICE_MEMORY")
        del ctx.links["a"]
        raise Mismatch("an answer to the second client", "none before the first has left") from None


@scripted("conc.sixteen-clients", "CONN-6", "ORDER-6")
def sixteen_clients(ctx: Context) -> None:
    """Sixteen clients keep their own bytes."""
    links = several(ctx, 16)
    memories = [link.alloc(4096) for link in links]
    for i, (link, memory) in enumerate(zip(links, memories)):
        link.set(memory, bytes([i + 1]) * 4096)
    for i, (link, memory) in enumerate(zip(links, memories)):
        if link.get(memory) != bytes([i + 1]) * 4096:
            raise Mismatch(f"4096 bytes of {i + 1} for client {i}", "others")


@scripted("conc.graphs-interleaved", "CONN-6", "RECOMPUTE-2", tier="smoke", timeout="op")
def graphs_interleaved(ctx: Context) -> None:
    """Two clients compute in turns, each its own graph."""
    one, two = Scale(ctx.links["a"], 2.0), Scale(several(ctx, 1)[0], 3.0)
    for scale in (one, two):
        scale.load(1.0)
        scale.compute()
    one.check(2.0)
    two.check(3.0)
    for value in (5.0, -1.5, 100.0):
        one.load(value)
        two.load(value)
        two.recompute()
        one.recompute()
        one.check(2.0 * value)
        two.check(3.0 * value)


@scripted("conc.foreign-handle", "CONN-8", "SAFE-3", "CONN-7", destructive=True)
def foreign_handle(ctx: Context) -> None:
    """A handle of another open connection closes the connection that uses it, and harms neither owner nor bytes."""
    mine = ctx.links["a"]
    memory = mine.alloc(256)
    mine.set(memory, bytes(range(256)))
    thief = several(ctx, 1)[0]
    thief.send("BUFFER_CLEAR", remote_ptr=memory.handle, value=0)
    thief.send("GET_DEVICE_MEMORY", device=0)
    end = thief.ended()
    if mine.get(memory) != bytes(range(256)):
        raise Mismatch("the owner's bytes unchanged", f"others, after the other was {end}")


@scripted("conc.foreign-tensor", "CONN-8", "SAFE-3", destructive=True)
def foreign_tensor(ctx: Context) -> None:
    """A tensor in a buffer of another open connection closes the connection that reads it."""
    mine = ctx.links["a"]
    memory = mine.alloc(256)
    mine.set(memory, bytes(range(256)))
    thief = several(ctx, 1)[0]
    thief.send("GET_TENSOR", tensor=memory.record(), offset=0, size=16)
    thief.ended()


@scripted("conc.fault-of-another", "CONN-7", "SAFE-2", timeout="op")
def fault_of_another(ctx: Context) -> None:
    """A connection that breaks the protocol closes, and others do not notice."""
    mine = Scale(ctx.links["a"], 2.0)
    mine.load(4.0)
    for garbage in (b"\xff", b"\x06" + b"\xff" * 8, b"\x0a" + b"\x00" * 8):
        other = several(ctx, 1)[0]
        other.raw(garbage)
        other.close()
    mine.compute()
    mine.check(8.0)


@scripted("conc.busy-does-not-starve", "CONN-6", "SAFE-2", timeout="op")
def busy_does_not_starve(ctx: Context) -> None:
    """A client is answered while another's graphs run."""
    busy = several(ctx, 1)[0]
    fields = heavy(busy)
    for _ in range(4):
        busy.send("GRAPH_COMPUTE", **fields)
    mine = Scale(ctx.links["a"], 2.0)
    mine.load(1.0)
    mine.compute()
    mine.check(2.0)


@scripted(
    "conc.leaves-while-computing", "CONN-9", "CONN-2", timeout="op", hello=False, ending="any"
)
def leaves_while_computing(ctx: Context) -> None:
    """A client that leaves while its graphs run harms nobody."""
    link = ctx.connect("a")
    fields = heavy(link, size=512)
    for _ in range(2):
        link.send("GRAPH_COMPUTE", **fields)
    link.sock.reset()
    if not ctx.alive():
        raise Mismatch("a server that serves the next client", "none")


@scripted("conc.many-idle", "CONN-11", "CONN-6", scored=True)
def many_idle(ctx: Context) -> None:
    """Forty-eight idle connections: each is answered or closed, and the first goes on."""
    if ctx.serves_several is False:
        raise NotApplicable("the server serves one client at a time (conc.second-client)")
    for _ in range(48):
        link = ctx.connect(f"n{len(ctx.links)}")
        link.barrier()
    ctx.links["a"].barrier()


CASES = (
    second_client, sixteen_clients, graphs_interleaved, foreign_handle, foreign_tensor, fault_of_another,
    busy_does_not_starve, leaves_while_computing, many_idle,
)  # fmt: skip
