"""Speed of the matrix products of the CPU device: `python benchmarks/cpu_matmul.py [--threads N] [TYPE ...]`.

For every type of weights at [2048 x 5632], each in a graph of its own over so many copies that no cache holds them:
one column, in bytes of weights read per second, and 128 columns, in operations per second (two per weight and
column). The best of several runs counts: other work on the machine only ever slows a run. With one thread it is
processor time that counts, which other processes disturb less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from ggmlrpc_cpu.device import CpuDevice
from ggmlrpc_cpu.families.mul_mat import TILES

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.views import raw_view

K, ROWS = 2048, 5632
OUT_OF_CACHE = 400 << 20
"""Bytes of weights that one run reads."""


def sample(name: str) -> np.ndarray:
    """Raw bytes of some rows: the encoding of random numbers, or small codes where nothing encodes the type."""
    rng, ggml_type = np.random.default_rng(0), TYPES[name]
    if ggml_type.from_f32:
        return quants.from_f32(np, rng.standard_normal((4, K)).astype(np.float32), ggml_type)
    return rng.integers(0, 48, (4, ggml_type.row_size(K)), dtype=np.uint8)


def measure(
    device: CpuDevice,
    name: str,
    *,
    columns: int,
    copies: int,
    repeats: int,
    clock: Callable[[], float],
) -> float:
    """Seconds per product, the best of `repeats` runs."""
    b = GraphBuilder()
    x = b.new_tensor("F32", K, columns)
    weights = [b.new_tensor(name, K, ROWS) for _ in range(copies)]
    products = [b.mul_mat(w, x) for w in weights]
    buffer = allocate(products, device)
    rows = sample(name)
    for w in weights:
        raw_view(w, buffer.memory)[...] = np.tile(rows, (ROWS // len(rows), 1))
    raw_view(x, buffer.memory)[...] = np.random.default_rng(1).standard_normal((columns, K))
    made = device.prepare(b.graph(*products))
    best = float("inf")
    for _ in range(repeats + 1):
        start = clock()
        made.run(lambda: False)
        best = min(best, clock() - start)
    buffer.free()
    return best / copies


def main() -> None:
    """Print a line per type."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", default=TILES, metavar="TYPE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = CpuDevice(options.threads, compile_mode="now")
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    print(f"{'type':8} {'1 column, GB/s':>15} {'128 columns, GFLOPS':>20}")
    for name in options.types:
        nbytes = ROWS * TYPES[name].row_size(K)
        copies = max(2, OUT_OF_CACHE // nbytes)
        one = measure(device, name, columns=1, copies=copies, repeats=options.repeats, clock=clock)
        many = measure(device, name, columns=128, copies=4, repeats=options.repeats, clock=clock)
        print(
            f"{name:8} {nbytes / one / 1e9:15.1f} {2 * K * ROWS * 128 / many / 1e9:20.0f}",
            flush=True,
        )
    device.close()


if __name__ == "__main__":
    main()
