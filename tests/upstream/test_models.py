"""Whole models: the stock client through a server against the stock client alone.

Each run decodes a prompt in one batch and 32 tokens one by one. Through the server it is fed the tokens that the local
run chose, so that the logits of every step can be compared; its own choices are compared where the weights are F32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from upstream.models import ARCHS
from upstream.session import N_TOKENS, Figures, Models, References, Servers, prompt
from upstream.stock import ALL_LAYERS, Generated, Kv, StockClient, nmse

KV_TYPES = [
    Kv("F16", "F16", flash=True),
    Kv("Q8_0", "Q8_0", flash=True),
    Kv("F16", "F16", flash=False),
    Kv("Q8_0", "F16", flash=False),
]
PLACES = ("all", "half", "two devices")
F32_BOUND = 1e-6
BOUNDS = {"F16": 1e-4, "Q8_0": 1e-3, "Q4_0": 1e-3, "Q4_K": 1e-3}
"""Largest NMSE of the logits against stock: both sides round activations, each in its own way."""


@pytest.fixture
def remote(client: StockClient, servers: Servers, models: Models) -> Callable[..., Generated]:
    """Runs a model through the server."""

    def run(arch: str, ggml_type: str, kv: Kv, place: str, forced: Sequence[int]) -> Generated:
        server = servers.get(n_devices=2 if place == "two devices" else 1)
        n_layer = ARCHS[arch].n_layer
        wanted = n_layer // 2 if place == "half" else ALL_LAYERS
        loaded = client.load(
            models.file(arch, ggml_type), endpoints=[server.endpoint], n_gpu_layers=wanted, kv=kv
        )
        assert loaded["n_devices"] == (2 if place == "two devices" else 1)
        offloaded = re.findall(r"offloaded (\d+)/\d+ layers", client.output(lines=400))
        assert int(offloaded[-1]) == min(wanted, n_layer + 1)
        return client.generate(prompt(arch), N_TOKENS, forced=forced)

    return run


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("flash", [True, False], ids=["flash", "plain"])
@pytest.mark.parametrize("arch", ARCHS)
def test_f32_is_the_same_text(
    arch: str,
    flash: bool,
    place: str,
    references: References,
    figures: Figures,
    remote: Callable[..., Generated],
) -> None:
    kv = Kv("F32", "F32", flash=flash)
    expected = references.local(arch, "F32", kv)
    got = remote(arch, "F32", kv, place, [])
    error = nmse(got.logits, expected.logits)
    figures.add(table="model", arch=arch, type="F32", kv=str(kv), place=place, to_stock=error)
    assert got.tokens.tolist() == expected.tokens.tolist()
    assert error <= F32_BOUND


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kv", KV_TYPES, ids=str)
@pytest.mark.parametrize("ggml_type", BOUNDS)
@pytest.mark.parametrize("arch", ARCHS)
def test_rounded_weights_stay_close(
    arch: str,
    ggml_type: str,
    kv: Kv,
    place: str,
    references: References,
    figures: Figures,
    remote: Callable[..., Generated],
) -> None:
    local = references.local(arch, ggml_type, kv)
    exact = references.exact(arch, ggml_type, kv)
    got = remote(arch, ggml_type, kv, place, local.tokens)
    row = {
        "to_stock": nmse(got.logits, local.logits),
        "to_exact": nmse(got.logits, exact.logits),
        "stock_to_exact": nmse(local.logits, exact.logits),
        "same_tokens": int((got.tokens == local.tokens).sum()),
    }
    figures.add(table="model", arch=arch, type=ggml_type, kv=str(kv), place=place, **row)
    assert row["to_stock"] <= BOUNDS[ggml_type]
    # Not worse than stock's own rounding; the factor leaves room for another order of the same roundings.
    assert row["to_exact"] <= 1.5 * row["stock_to_exact"] + 1e-7
