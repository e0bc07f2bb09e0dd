"""Slow peers, and peers that vanish at a chosen byte of a chosen message."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from ggmlrpc_conformance.case import Case, Tier
from ggmlrpc_conformance.context import Context
from ggmlrpc_conformance.faults import Mismatch
from ggmlrpc_conformance.link import Link
from ggmlrpc_conformance.scripts.declare import scripted
from ggmlrpc_conformance.scripts.graphs import Scale, heavy

MIB = 1 << 20


@scripted("fault.slow-writer", "FRAME-5", "CONN-5", timeout="op")
def slow_writer(ctx: Context) -> None:
    """A message that comes in pieces with pauses between them is taken whole."""
    link = ctx.links["a"]
    memory = link.alloc(1024)
    data = bytes(range(256)) * 4
    payload = link.payload("SET_TENSOR", {"tensor": memory.record(), "offset": 0}, data=data)
    message = link.message("SET_TENSOR", payload)
    link.tell(True, "SET_TENSOR", size=len(payload), fields={"sent": "in 9 pieces"})
    cuts = [0, 1, 5, 9, 10, 200, 305, 320, 1000, len(message)]
    for begin, end in pairwise(cuts):
        link.sock.send(message[begin:end])
        time.sleep(0.02)
    if link.wire("SET_TENSOR").reply is not None:
        link.answer("SET_TENSOR")
    if link.get(memory) != data:
        raise Mismatch("the bytes that were sent", "others")


@scripted("fault.slow-reader", "CONN-4", "ORDER-2", "ORDER-3", timeout="op")
def slow_reader(ctx: Context) -> None:
    """Answers of many bytes that nobody reads for a while arrive whole and in order."""
    link = ctx.links["a"]
    memory = link.alloc(4 * MIB)
    data = np.arange(MIB, dtype="<u4").tobytes()
    link.set(memory, data)
    for _ in range(4):
        link.send("GET_TENSOR", tensor=memory.record(), offset=0, size=4 * MIB)
    time.sleep(0.3)
    for i in range(4):
        if link.answer("GET_TENSOR", size=4 * MIB)["data"] != data:
            raise Mismatch(f"answer {i + 1} of 4 whole", "other bytes")


@scripted(
    "fault.reset-inside-an-answer", "CONN-9", "SAFE-1", destructive=True, ending="any", timeout="op"
)
def reset_inside_an_answer(ctx: Context) -> None:
    """A client that vanishes while a large answer is written harms nobody."""
    link = ctx.links["a"]
    memory = link.alloc(16 * MIB)
    link.send("GET_TENSOR", tensor=memory.record(), offset=0, size=16 * MIB)
    link.sock.receive(1000, what="the first bytes of the answer")
    link.sock.reset()
    _check_alive(ctx)


@scripted("fault.leave-without-reading", "CONN-9", "SAFE-1", destructive=True, ending="any")
def leave_without_reading(ctx: Context) -> None:
    """A client that asks and vanishes before the answer harms nobody."""
    link = ctx.links["a"]
    for _ in range(20):
        link.send("GET_DEVICE_MEMORY", device=0)
    link.sock.reset()
    _check_alive(ctx)


@scripted(
    "fault.graph-then-reset", "CONN-9", "SAFE-1", destructive=True, ending="any", timeout="op"
)
def graph_then_reset(ctx: Context) -> None:
    """A client that waits for a graph that runs, and vanishes, harms nobody."""
    link = ctx.links["a"]
    link.send("GRAPH_COMPUTE", **heavy(link, size=512))
    link.send("GET_DEVICE_MEMORY", device=0)
    link.sock.reset()
    _check_alive(ctx)


@scripted(
    "fault.graph-then-close", "CONN-9", "SAFE-1", destructive=True, ending="any", timeout="op"
)
def graph_then_close(ctx: Context) -> None:
    """A client that waits for a graph that runs, and is ended by its user, harms nobody."""
    # Nothing unread may be here, or the end is a reset: the answer is then written to a closed connection.
    link = ctx.links["a"]
    link.send("GRAPH_COMPUTE", **heavy(link, size=512))
    link.send("GET_DEVICE_MEMORY", device=0)
    link.close()
    _check_alive(ctx)


def _check_alive(ctx: Context) -> None:
    if not ctx.alive():
        raise Mismatch("a server that serves the next client", "none")


COMMANDS = ("ALLOC_BUFFER", "SET_TENSOR", "GET_TENSOR", "COPY_TENSOR", "GRAPH_COMPUTE")
POSITIONS = {"header": 9, "start": 13, "half": None, "end": -1}


def _message(link: Link, command: str) -> bytes:
    """One whole valid message."""
    if command == "ALLOC_BUFFER":
        return link.message(command, link.payload(command, {"device": 0, "size": 64}))
    if command == "GRAPH_COMPUTE":
        return link.message(command, link.payload(command, Scale(link, 2.0).fields))
    memory = link.alloc(1 << 16)
    fields = {
        "tensor": memory.record(),
        "offset": 0,
        "size": 64,
        "src": memory.record(0, ne=(64,)),
        "dst": memory.record(128, ne=(64,)),
    }
    data = bytes(1 << 16) if command == "SET_TENSOR" else b""
    return link.message(command, link.payload(command, fields, data=data))


def _cut(ctx: Context, *, command: str, position: str, reset: bool) -> None:
    link = ctx.connect("a")
    message = _message(link, command)
    place = POSITIONS[position]
    end = len(message) // 2 if place is None else place if place > 0 else len(message) + place
    link.tell(True, command, size=len(message), fields={"cut after": f"{end} bytes"})
    link.sock.send(message[:end])
    if reset:
        link.sock.reset()
    else:
        link.close()
    _check_alive(ctx)


def cuts() -> Iterator[Case]:
    """Every command cut at every position, by FIN and by RST."""
    for command in COMMANDS:
        for position in POSITIONS:
            for reset in (False, True):
                how = "reset" if reset else "closed"
                yield Case(
                    id=f"fault.cut.{command.lower()}.{position}.{how}",
                    title=f"a connection that is {how} in {command} ({position}) ends nothing but itself",
                    clauses=("CONN-9", "FRAME-9", "CONN-2"),
                    body=partial(_cut, command=command, position=position, reset=reset),
                    tier=Tier.DEFAULT,
                    hello=False,
                    ending="any",
                )


@scripted("fault.close-without-reading", "CONN-9", "SAFE-1", destructive=True, ending="any")
def close_without_reading(ctx: Context) -> None:
    """A client that asks and closes before the answers harms nobody."""
    link = ctx.links["a"]
    memory = link.alloc(1 << 16)
    for _ in range(50):
        link.send("GET_TENSOR", tensor=memory.record(), offset=0, size=1 << 16)
    link.close()
    time.sleep(0.1)
    _check_alive(ctx)


CASES = (
    close_without_reading,
    slow_writer,
    slow_reader,
    reset_inside_an_answer,
    leave_without_reading,
    graph_then_reset,
    graph_then_close,
    *cuts(),
)
