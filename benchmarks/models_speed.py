"""Prompt and generation speed of the stock client, and the server's peak memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pairs import Row, Setup
from upstream.models import BENCH_1B, Quantizer, Shape, write_model
from upstream.stock import StockClient

TYPES = ("Q4_0", "Q4_K", "Q8_0", "F16")
TINY = Shape(n_layer=4, n_embd=512, n_ff=1536, n_head=16, n_head_kv=4, n_vocab=4096, n_ctx=2048)
N_PROMPT = 128
MIB = 1 << 20


def allocated(client: StockClient) -> float:
    """Bytes that the client says it allocated on its RPC device, for weights, KV cache and compute buffer."""
    pattern = r"RPC\S* +(?:model|KV|compute) buffer size = +([\d.]+) MiB"
    return sum(map(float, re.findall(pattern, client.output(lines=10_000)))) * MIB


def measure_model(
    setup: Setup, folder: Path, *, name: str, shape: Shape, ggml_type: str, n_tokens: int
) -> Iterator[Row]:
    """Rows of one model; the file is removed at the end."""
    path = folder / f"{ggml_type}.gguf"
    quantize = Quantizer(setup.stock.library("ggml-base"))
    write_model(path, shape, ggml_type=ggml_type, quantize=quantize, tiled=True)
    try:
        with (
            setup.servers() as servers,
            StockClient(setup.stock, n_threads=setup.threads, wait_policy=None) as a,
            StockClient(setup.stock, n_threads=setup.threads, wait_policy=None) as b,
        ):
            clients = {"stock": a, "ours": b}
            for kind, client in clients.items():
                endpoint = servers[kind].endpoint
                client.load(path, endpoints=[endpoint], n_ctx=N_PROMPT + n_tokens)
                client.timed(n_prompt=N_PROMPT, n_tokens=2)  # compiles, pages in, stores graphs

            def prompt(kind: str, number: int) -> float:
                return N_PROMPT / clients[kind].timed(n_prompt=N_PROMPT, seed=number)

            def generation(kind: str, number: int) -> float:
                return n_tokens / clients[kind].timed(n_tokens=n_tokens, depth=8, seed=number)

            samples = setup.samples(prompt)
            yield setup.row(f"prompt of {N_PROMPT}, {name}", "tokens/s", samples, speed=True)
            samples = setup.samples(generation)
            yield setup.row(f"generation, {name}", "tokens/s", samples, speed=True)
            used = {k: servers[k].peak_rss() / allocated(clients[k]) for k in clients}
            yield Row(
                f"peak memory over allocated, {name}",
                "x",
                used["stock"],
                used["ours"],
                higher_is_better=False,
            )
            beyond = {
                k: (servers[k].peak_rss() - 1.15 * allocated(clients[k])) / 1e6 for k in clients
            }
            yield Row(
                f"peak memory minus 1.15 x allocated, {name}",
                "MB",
                beyond["stock"],
                beyond["ours"],
                higher_is_better=False,
            )
    finally:
        path.unlink(missing_ok=True)


def measure(
    setup: Setup, folder: Path, *, types: tuple[str, ...], layers: int | None, n_tokens: int
) -> Iterator[Row]:
    """The 1.1 B shape, or fewer layers of it, in each type."""
    shape = replace(BENCH_1B, n_layer=layers or BENCH_1B.n_layer)
    size = "1.1 B" if shape == BENCH_1B else f"{shape.n_layer} layers of 1.1 B"
    for ggml_type in types:
        yield from measure_model(
            setup,
            folder,
            name=f"{size} {ggml_type}",
            shape=shape,
            ggml_type=ggml_type,
            n_tokens=n_tokens,
        )


def measure_tiny(setup: Setup, folder: Path) -> Iterator[Row]:
    """A model so small that the protocol and the cost per node are what is measured."""
    rows = measure_model(setup, folder, name="tiny Q4_0", shape=TINY, ggml_type="Q4_0", n_tokens=64)
    yield from (row for row in rows if "memory" not in row.name)
