"""Drive the stock llama.cpp client from a test: loads models locally or over RPC, returns logits and times.

The client runs in a child process (stock_worker.py): what ends it is seen as ClientDied with its last output.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import gguf
import numpy as np
from upstream.build_stock import Stock

ALL_LAYERS = 999


class ClientDied(Exception):
    """The stock client's process ended; carries its exit status and last lines."""


class ClientRefused(Exception):
    """The stock client reported an error and lives."""


@dataclass(frozen=True)
class Kv:
    """How attention runs: types of the KV cache, and flash attention or not."""

    type_k: str = "F16"
    type_v: str = "F16"
    flash: bool = True

    def __str__(self) -> str:
        way = "flash" if self.flash else "plain"
        types = self.type_k if self.type_k == self.type_v else f"{self.type_k}/{self.type_v}"
        return f"{way}-{types}"


@dataclass(frozen=True)
class Generated:
    """Result of StockClient.generate.

    Attributes:
        logits: f32, shape (prompt positions + n_tokens, n_vocab).
        tokens: the most likely token of each step, shape (n_tokens,).
    """

    logits: np.ndarray
    tokens: np.ndarray


class StockClient:
    """The stock client in a child process; a context manager.

    Args:
        stock: the build to use.
        n_threads: of the client's own CPU work.
        wait_policy: of its idle OpenMP threads; "passive" keeps tests quick on a busy machine, None leaves it to the
            system, as in daily use.
    """

    def __init__(
        self, stock: Stock, *, n_threads: int = 2, wait_policy: str | None = "passive"
    ) -> None:
        self.n_threads = n_threads
        self._folder = tempfile.TemporaryDirectory(prefix="stock-client-")
        self._log = Path(self._folder.name, "log").open("w+")  # noqa: SIM115
        environment = stock.environment()
        if wait_policy is not None:
            environment["OMP_WAIT_POLICY"] = wait_policy
        worker = Path(__file__).with_name("stock_worker.py")
        self.process = subprocess.Popen(
            [sys.executable, str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def __enter__(self) -> StockClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died before; its exit status says so
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def output(self, *, lines: int = 15) -> str:
        """The last lines that the child wrote to its error output."""
        self._log.flush()
        return "\n".join(Path(self._log.name).read_text(errors="replace").splitlines()[-lines:])

    def send(self, job: str, **fields: Any) -> None:
        """Start a job without waiting for it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"job": job, **fields}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # receive() reports the death

    def receive(self) -> dict[str, Any]:
        """Wait for a job's answer.

        Raises:
            ClientDied: the child ended instead.
            ClientRefused: the client reported an error.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise ClientDied(f"stock client: exit status is {status}\n{self.output()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ClientRefused(f"stock client: {answer['error']}\n{self.output()}")
        return answer

    def call(self, job: str, **fields: Any) -> dict[str, Any]:
        """Do one job; raises as receive()."""
        self.send(job, **fields)
        return self.receive()

    def load(
        self,
        model: Path,
        *,
        endpoints: Sequence[str] = (),
        n_gpu_layers: int = ALL_LAYERS,
        kv: Kv | None = None,
        n_ctx: int = 256,
    ) -> dict[str, Any]:
        """Open a model; one that was open is closed.

        Args:
            model: GGUF file.
            endpoints: "host:port" of servers; all their devices are used. None: computed by the client itself.
            n_gpu_layers: layers on the devices, from the last; ALL_LAYERS includes the output.
            kv: the KV cache; None for F16 with flash attention.
            n_ctx: positions in the KV cache.

        Returns:
            seconds (of opening), n_devices, n_vocab.
        """
        return self.call(
            "load",
            **self.load_fields(
                model, endpoints=endpoints, n_gpu_layers=n_gpu_layers, kv=kv, n_ctx=n_ctx
            ),
        )

    def load_fields(
        self,
        model: Path,
        *,
        endpoints: Sequence[str] = (),
        n_gpu_layers: int = ALL_LAYERS,
        kv: Kv | None = None,
        n_ctx: int = 256,
    ) -> dict[str, Any]:
        """The fields of the job "load"; arguments as load()."""
        kv = kv or Kv()
        return {
            "model": str(model),
            "endpoints": list(endpoints),
            "n_gpu_layers": n_gpu_layers,
            "n_ctx": n_ctx,
            "n_threads": self.n_threads,
            "flash": kv.flash,
            "type_k": type_number(kv.type_k),
            "type_v": type_number(kv.type_v),
        }

    def unload(self) -> None:
        """Close the model; its connections to the servers close too when nothing else uses them."""
        self.call("unload")

    def generate(
        self, prompt: Sequence[int], n_tokens: int, *, forced: Sequence[int] = ()
    ) -> Generated:
        """Decode a prompt in one batch and then n_tokens one by one, from an empty KV cache.

        Args:
            prompt: token ids.
            n_tokens: steps after the prompt.
            forced: tokens to feed in the steps; empty: the most likely ones.
        """
        self.start_generate(prompt, n_tokens, forced=forced)
        return self.finish_generate()

    def start_generate(
        self, prompt: Sequence[int], n_tokens: int, *, forced: Sequence[int] = ()
    ) -> None:
        """generate() without waiting."""
        self.send(
            "generate",
            prompt=list(map(int, prompt)),
            n_tokens=n_tokens,
            forced=list(map(int, forced)),
            out=str(Path(self._folder.name, "generated.npz")),
        )

    def finish_generate(self) -> Generated:
        """The result of start_generate()."""
        self.receive()
        with np.load(Path(self._folder.name, "generated.npz")) as arrays:
            return Generated(arrays["logits"], arrays["tokens"])

    def timed(
        self, *, n_prompt: int = 0, n_tokens: int = 0, depth: int = 0, seed: int = 0
    ) -> float:
        """Seconds for a batch of n_prompt random tokens and then n_tokens single ones, after `depth` positions."""
        answer = self.call("timed", n_prompt=n_prompt, n_tokens=n_tokens, depth=depth, seed=seed)
        return float(answer["seconds"])

    def mul_mat(
        self, endpoint: str, *, ggml_type: str, weight: np.ndarray, x: np.ndarray
    ) -> np.ndarray:
        """weight @ x on the first device of an endpoint.

        Args:
            endpoint: of the server.
            ggml_type: of the weight.
            weight: its bytes, shape (rows, row bytes).
            x: f32, shape (columns, k).

        Returns:
            f32, shape (columns, rows).
        """
        arrays, out = Path(self._folder.name, "in.npz"), Path(self._folder.name, "out.npz")
        np.savez(arrays, weight=weight, x=x)
        fields = {"arrays": str(arrays), "out": str(out), "type": type_number(ggml_type)}
        self.call("mul_mat", endpoints=[endpoint], rows=weight.shape[0], **fields)
        with np.load(out) as results:
            return results["y"]


def type_number(ggml_type: str) -> int:
    """ggml's number of a type."""
    return int(gguf.GGMLQuantizationType[ggml_type].value)


def nmse(got: np.ndarray, expected: np.ndarray) -> float:
    """Mean square error over mean square of what is expected, in f64; infinite when `got` is not finite."""
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.square(got - expected).mean() / np.square(expected).mean())
