"""What the tests of one session share: servers, model files, local results of the stock client, measured values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from upstream.build_stock import Stock
from upstream.models import ARCHS, Quantizer, write_exact_model, write_model
from upstream.servers import Server
from upstream.stock import Generated, Kv, StockClient

N_PROMPT, N_TOKENS = 40, 32
PROMPT_SEEDS = {"llama": 8, "moe": 14}
"""Prompts whose greedy tokens are many different ones and chosen by wide margins (0.037 standard deviations)."""


class Figures:
    """Collects measured values; written to the file of --figures at the end."""

    def __init__(self, server: str, stock: Stock) -> None:
        self.head = {
            "date": datetime.now(UTC).date().isoformat(),
            "server": stock.version if server == "stock" else f"ggmlrpc {version('ggmlrpc')}",
            "client": stock.version,
        }
        self.rows: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        """One measured row; "table" says which table it belongs to."""
        self.rows.append(row)

    def write(self, path: Path) -> None:
        """All rows with the date and versions."""
        path.write_text(json.dumps({**self.head, "rows": self.rows}, indent=1) + "\n")


class Servers:
    """Long-lived servers by number of devices; one that ended is started again for the next test."""

    def __init__(self, kind: str, stock: Stock, devices: tuple[str, ...] = ()) -> None:
        self._kind, self._stock, self._devices = kind, stock, devices
        self._running: dict[int, Server] = {}

    def get(self, *, n_devices: int = 1) -> Server:
        """A running server with that many devices of a kind."""
        server = self._running.get(n_devices)
        if server is None or not server.alive():
            devices = (self._devices or ("CPU",)) * n_devices if n_devices > 1 else self._devices
            server = Server(self._kind, stock=self._stock, devices=devices)
            self._running[n_devices] = server
        return server

    def stop(self) -> None:
        """Stop all."""
        for server in self._running.values():
            server.stop()


class Models:
    """Model files, written on first use."""

    def __init__(self, folder: Path, quantize: Quantizer) -> None:
        self._folder, self._quantize = folder, quantize

    def file(self, arch: str, ggml_type: str) -> Path:
        """A model with weights of one type."""
        path = self._folder / f"{arch}-{ggml_type}.gguf"
        if not path.exists():
            write_model(path, ARCHS[arch], ggml_type=ggml_type, quantize=self._quantize)
        return path

    def exact(self, arch: str, ggml_type: str) -> Path:
        """The same weights after rounding to that type, stored as F32."""
        path = self._folder / f"{arch}-{ggml_type}-exact.gguf"
        if not path.exists():
            write_exact_model(path, ARCHS[arch], ggml_type=ggml_type, quantize=self._quantize)
        return path


class References:
    """What the stock client computes by itself, kept for the session."""

    def __init__(self, stock: Stock, models: Models) -> None:
        self._client = StockClient(stock)
        self._models = models
        self._local: dict[tuple[str, str, Kv], Generated] = {}
        self._exact: dict[tuple[str, str, Kv], Generated] = {}

    def local(self, arch: str, ggml_type: str, kv: Kv) -> Generated:
        """Prompt and greedy tokens on the stock CPU backend, in the client's own process."""
        key = (arch, ggml_type, kv)
        if key not in self._local:
            self._client.load(self._models.file(arch, ggml_type), kv=kv)
            self._local[key] = self._client.generate(prompt(arch), N_TOKENS)
        return self._local[key]

    def exact(self, arch: str, ggml_type: str, kv: Kv) -> Generated:
        """The same tokens through the same weights as F32 with an F32 KV cache: no rounding but that of f32."""
        key = (arch, ggml_type, kv)
        if key not in self._exact:
            forced = self.local(arch, ggml_type, kv).tokens
            self._client.load(self._models.exact(arch, ggml_type), kv=Kv("F32", "F32", False))
            self._exact[key] = self._client.generate(prompt(arch), N_TOKENS, forced=forced)
        return self._exact[key]

    def close(self) -> None:
        """End the client."""
        self._client.close()


def prompt(arch: str) -> list[int]:
    """The prompt of an architecture's tests."""
    rng = np.random.default_rng(PROMPT_SEEDS[arch])
    return rng.integers(0, ARCHS[arch].n_vocab, N_PROMPT).tolist()


def dequantized(ggml_type: str, encoded: np.ndarray) -> np.ndarray:
    """f64 values of encoded rows."""
    quant = gguf.GGMLQuantizationType[ggml_type]
    return gguf.quants.dequantize(encoded, quant).astype(np.float64)
