"""The server outlives its clients: it accepts again, serves two at once, and gives back the memory of a killed one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from upstream.build_stock import Stock
from upstream.models import Quantizer, Shape, write_model
from upstream.servers import Server
from upstream.session import N_TOKENS, Models, References, Servers, prompt
from upstream.stock import Kv, StockClient, nmse

KV = Kv("F32", "F32")
LARGE = Shape(n_layer=4, n_embd=2048, n_ff=5632, n_head=64, n_head_kv=8, n_vocab=4096)
"""About 0.8 GB of F32 weights: loading takes long enough to be killed in the middle."""
PATIENCE = 60.0


def wait_for(condition, what: str) -> None:
    """Poll until a condition of another process holds; fail after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def check_answers(client: StockClient, server: Server, models: Models, known: References) -> None:
    """One short run whose logits are compared."""
    client.load(models.file("llama", "F32"), endpoints=[server.endpoint], kv=KV)
    expected = known.local("llama", "F32", KV)
    got = client.generate(prompt("llama"), N_TOKENS)
    assert got.tokens.tolist() == expected.tokens.tolist()
    assert nmse(got.logits, expected.logits) <= 1e-6


def test_accepts_again_after_a_disconnect(
    stock: Stock, servers: Servers, models: Models, references: References
) -> None:
    server = servers.get()
    for _ in range(3):
        with StockClient(stock) as client:
            check_answers(client, server, models, references)
    assert server.alive()


def test_two_clients_at_once(
    stock: Stock, server_kind: str, servers: Servers, models: Models, references: References
) -> None:
    if server_kind == "stock":
        pytest.skip("the stock server serves one client at a time")
    server = servers.get()
    with StockClient(stock) as one, StockClient(stock) as two:
        for client, arch in ((one, "llama"), (two, "moe")):
            client.load(models.file(arch, "F32"), endpoints=[server.endpoint], kv=KV)
        one.start_generate(prompt("llama"), N_TOKENS)
        two.start_generate(prompt("moe"), N_TOKENS)
        for client, arch in ((one, "llama"), (two, "moe")):
            got, expected = client.finish_generate(), references.local(arch, "F32", KV)
            assert got.tokens.tolist() == expected.tokens.tolist()
            assert nmse(got.logits, expected.logits) <= 1e-6


def test_killed_while_loading(
    stock: Stock,
    server_kind: str,
    devices: tuple[str, ...],
    quantize: Quantizer,
    models: Models,
    references: References,
    tmp_path: Path,
) -> None:
    path = tmp_path / "large.gguf"
    write_model(path, LARGE, ggml_type="F32", quantize=quantize, tiled=True)
    total = path.stat().st_size
    with Server(server_kind, stock=stock, devices=devices) as server:
        with StockClient(stock) as client:
            check_answers(client, server, models, references)
        before = server.rss()
        with StockClient(stock) as client:
            client.send("load", **client.load_fields(path, endpoints=[server.endpoint]))
            wait_for(lambda: server.rss() > before + total // 10, "the upload did not start")
            client.process.kill()
            client.process.wait()
        wait_for(lambda: server.rss() < before + total // 20, "the memory was not given back")
        path.unlink()
        with StockClient(stock) as client:
            check_answers(client, server, models, references)
        assert server.alive()
