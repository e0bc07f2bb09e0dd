"""Uploads, downloads and small graphs, with our Python client against both servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from pairs import Row, Setup

from ggmlrpc_core.client import RemoteBuffer, RemoteDevice, rpc_init
from ggmlrpc_core.client.serialise import graph_message
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import Graph

TRANSFER = 64 << 20
N_NODES = 1000
NE = 64
"""Elements of each tensor of a small graph."""
ROUNDS = 20
"""Recomputes between two GETs."""


def seconds(work: Callable[[], None]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_transfers(setup: Setup) -> Iterator[Row]:
    """SET_TENSOR and GET_TENSOR of 64 MiB; a GET of 4 bytes shows that all of it arrived."""
    data = np.random.default_rng(0).integers(0, 256, TRANSFER, np.uint8).data
    into = memoryview(bytearray(TRANSFER))
    with setup.servers() as servers:
        devices = {kind: rpc_init(server.endpoint) for kind, server in servers.items()}
        buffers = {kind: device.alloc(TRANSFER) for kind, device in devices.items()}

        def upload(kind: str, number: int) -> float:
            def work() -> None:
                buffers[kind].set(data)
                buffers[kind].get(4)

            return TRANSFER / seconds(work) / 1e9

        def download(kind: str, number: int) -> float:
            def work() -> None:
                buffers[kind].get_into(into)
                buffers[kind].get(4)

            return TRANSFER / seconds(work) / 1e9

        for name, work in (("SET_TENSOR", upload), ("GET_TENSOR", download)):
            for kind in devices:
                work(kind, 0)
            yield setup.row(f"{name} of 64 MiB", "GB/s", setup.samples(work), speed=True)
        for kind in devices:
            assert bytes(buffers[kind].get(TRANSFER)) == bytes(data), kind
            devices[kind].close()


def small_graph(device: RemoteDevice, seed: int) -> tuple[Graph, RemoteBuffer]:
    """1000 small nodes in a chain, ADD with a few SUB at random places, and the buffer that holds them."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    x, y = b.new_tensor("F32", NE, name="x"), b.new_tensor("F32", NE, name="y")
    for subtract in rng.random(N_NODES) < 0.05:
        x = b.sub(x, y) if subtract else b.add(x, y)
    buffer = allocate([x], device)
    buffer.clear(0)
    return b.graph(x), buffer


def measure_graphs(setup: Setup) -> Iterator[Row]:
    """1000 small nodes: a graph the server has not seen, one that it has, and RECOMPUTE."""
    with setup.servers() as servers:
        devices = {kind: rpc_init(server.endpoint) for kind, server in servers.items()}

        def compute(kind: str, seed: int) -> float:
            """Microseconds of one GRAPH_COMPUTE; the message is ready before the clock starts."""
            device = devices[kind]
            graph, buffer = small_graph(device, seed)
            nodes, tensors = graph_message(graph, device.connection.dialect, device._place)

            def work() -> None:
                device.connection.call("GRAPH_COMPUTE", device=0, nodes=nodes, tensors=tensors)
                buffer.get(4)

            elapsed = seconds(work) * 1e6
            buffer.free()
            return elapsed

        def known(kind: str, number: int) -> float:
            graphs = [small_graph(devices[kind], seed) for seed in (1, 2)]
            device = devices[kind]
            messages = [
                graph_message(g, device.connection.dialect, device._place) for g, _ in graphs
            ]

            def work() -> None:
                for nodes, tensors in messages:
                    device.connection.call("GRAPH_COMPUTE", device=0, nodes=nodes, tensors=tensors)
                graphs[0][1].get(4)

            work()
            elapsed = seconds(work) * 1e6 / len(messages)
            for _, buffer in graphs:
                buffer.free()
            return elapsed

        def recompute(kind: str, number: int) -> float:
            graph, buffer = small_graph(devices[kind], 1)
            devices[kind].compute(graph)
            buffer.get(4)

            def work() -> None:
                for _ in range(ROUNDS):
                    devices[kind].recompute()
                buffer.get(4)

            elapsed = seconds(work) * 1e6 / ROUNDS
            buffer.free()
            return elapsed

        for kind in devices:
            compute(kind, 0)
        rows = (
            ("new GRAPH_COMPUTE", lambda kind, number: compute(kind, 100 + number)),
            ("known GRAPH_COMPUTE", known),
            ("GRAPH_RECOMPUTE", recompute),
        )
        for name, work in rows:
            samples = setup.samples(work)
            yield setup.row(f"{name} of {N_NODES} small nodes", "us", samples, speed=False)
        for device in devices.values():
            device.close()
