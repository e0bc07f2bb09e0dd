"""What the soak does to a server: each scenario repeats one round for a number of times or seconds.

A round raises when a result is wrong. Rounds of several clients run at the same time, each in a thread.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ggmlrpc_core.client import RemoteDevice, get_tensor, rpc_init, set_tensor
from ggmlrpc_core.engine.connection import Connection
from ggmlrpc_core.engine.events import Reply
from ggmlrpc_core.engine.state import Role
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.wire import dialects
from ggmlrpc_core.wire.tensors import TensorRecord

SEED = 11
TOLERANCE = 1e-5


class WrongResult(Exception):
    """A server computed something else."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of load.

    Attributes:
        rounds: how many in all by default.
        clients: how many run rounds at once.
        session: whether a client keeps one connection over its rounds; `round` is given the device, else None.
        round: one round of a client: `round(endpoint, device, number)`.
    """

    rounds: int
    clients: int
    session: bool
    round: Callable[[str, RemoteDevice | None, int], None]


def connect_round(endpoint: str, device: RemoteDevice | None, number: int) -> None:
    """Connect, ask, allocate without freeing, leave."""
    with rpc_init(endpoint) as mine:
        mine.memory()
        mine.alloc(65536)


def alloc_round(endpoint: str, device: RemoteDevice | None, number: int) -> None:
    """Allocate, find zeros, write, free."""
    assert device is not None
    size = 4096 + 64 * (number % 97)
    with device.alloc(size) as buffer:
        if any(buffer.get(64)):
            raise WrongResult("a fresh buffer is not zero")
        buffer.set(b"\xa5" * size)


def graph_round(endpoint: str, device: RemoteDevice | None, number: int) -> None:
    """A graph that no round had before: other shapes, another chain."""
    assert device is not None
    rng = np.random.default_rng((SEED, number))
    rows, columns, chain = 1 + number % 61, 1 + number // 61 % 53, 1 + number % 7
    builder = GraphBuilder()
    a, b = builder.new_tensor("F32", 32, rows), builder.new_tensor("F32", 32, columns)
    out = builder.mul_mat(a, b)
    factor = 1.0 + number / 65536
    for _ in range(chain):
        out = builder.scale(out, factor)
    with allocate([out], device):
        x, y = (rng.standard_normal((n, 32), dtype=np.float32) for n in (rows, columns))
        set_tensor(a, x)
        set_tensor(b, y)
        device.compute(builder.graph(out))
        expected = (y.astype(np.float64) @ x.T.astype(np.float64)) * np.float32(factor) ** chain
        found = get_tensor(out).reshape(columns, rows)
    if not np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max()):
        raise WrongResult(f"graph {number}: a product differs by more than {TOLERANCE}")


def half_an_upload(endpoint: str) -> None:
    """A client that is killed while it loads: a megabyte is announced, a little arrives."""
    dialect = dialects.newest()
    host, port = endpoint.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        engine = Connection(Role.CLIENT, dialect)

        def ask(command: str, **fields: object) -> dict[str, int]:
            sock.sendall(engine.request(command, **fields))
            while not isinstance(event := engine.next_event(), Reply):
                engine.receive_data(sock.recv(4096))
            return event.fields

        ask("HELLO", conn_caps=bytes(24))
        handle = ask("ALLOC_BUFFER", device=0, size=1 << 20)["remote_ptr"]
        base = ask("BUFFER_GET_BASE", remote_ptr=handle)["base_ptr"]
        ne, nb = (1 << 18, 1, 1, 1), (4, 1 << 20, 1 << 20, 1 << 20)
        record = TensorRecord(id=1, type=0, ne=ne, nb=nb, buffer=handle, data=base)
        head = engine.request("SET_TENSOR", body_size=1 << 20, tensor=record, offset=0)
        sock.sendall(head + bytes(1000))


def mixed_round(endpoint: str, device: RemoteDevice | None, number: int) -> None:
    """A bit of everything, with a client in between that leaves in the middle of an upload."""
    graph_round(endpoint, device, number)
    alloc_round(endpoint, device, number)
    if number % 16 == 0:
        connect_round(endpoint, device, number)
    if number % 64 == 0:
        half_an_upload(endpoint)


SCENARIOS = {
    "connects": Scenario(10_000, 4, session=False, round=connect_round),
    "graphs": Scenario(10_000, 2, session=True, round=graph_round),
    "allocs": Scenario(100_000, 4, session=True, round=alloc_round),
    "mixed": Scenario(1_000_000, 8, session=True, round=mixed_round),
}
