"""`ggmlrpc devices`: open each device and multiply two small matrices on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ggmlrpc_core.cli.options import HELP, split_names
from ggmlrpc_core.cli.table import print_table

if TYPE_CHECKING:
    from ggmlrpc_core.device import Device
    from ggmlrpc_core.graph.tensor import Tensor
    from ggmlrpc_core.plugins import Plugins

TOLERANCE = 1e-6
"""Relative error of a product of 64 terms in F32."""
_SEED = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the table; `reason` is empty when the device works."""

    name: str
    description: str
    memory: str
    reason: str


@click.command(
    "devices",
    help="Open each device and multiply two small matrices on it.",
    context_settings=HELP,
)
@click.option("-d", "--device", "names", metavar="DEV1,DEV2,...", help="Only these.")
@click.option("-t", "--threads", type=click.IntRange(min=1), help="Threads of the CPU device.")
def command(names: str | None, threads: int | None) -> int:
    """Print PASS or FAIL per device; exit code 1 when one fails."""
    from ggmlrpc_core.plugins import Plugins

    plugins = Plugins(complain=lambda sentence: click.echo(sentence, err=True))
    wanted = split_names(names)
    offered = [info for info in plugins.devices() if not info.on_request]
    chosen = plugins.choose(wanted) if wanted else offered or plugins.choose()
    outcomes = [_try(plugins, info.name, info.description, threads) for info in chosen]
    rows = [
        (one.name, one.description, one.memory, f"FAIL {one.reason}" if one.reason else "PASS")
        for one in outcomes
    ]
    print_table(("device", "description", "memory", "result"), rows)
    return int(any(outcome.reason for outcome in outcomes))


def _try(plugins: Plugins, name: str, description: str, threads: int | None) -> Outcome:
    """Open, compute, close; whatever a stranger's device raises becomes the reason."""
    memory = "?"
    try:
        device = plugins.open_device(name, threads)
        try:
            free, total = device.memory()
            memory = f"{total >> 20} MiB, {free >> 20} MiB free"
            reason = multiply(device)
        finally:
            device.close()
    except Exception as exc:
        reason = f"{type(exc).__name__}: {exc}"
    return Outcome(name, description, memory, reason)


def multiply(device: Device) -> str:
    """Multiply an 8 x 64 by a 64 x 4 matrix in F32; returns what is wrong, "" for nothing."""
    import numpy as np

    from ggmlrpc_core.graph.build import GraphBuilder, allocate

    rng = np.random.default_rng(_SEED)
    a, b = (rng.standard_normal((rows, 64)).astype(np.float32) for rows in (8, 4))
    builder = GraphBuilder()
    left = builder.new_tensor("F32", 64, 8, name="a")
    right = builder.new_tensor("F32", 64, 4, name="b")
    product = builder.mul_mat(left, right)
    allocate([product], device)
    _write(left, memoryview(a.tobytes()))
    _write(right, memoryview(b.tobytes()))
    executable = device.prepare(builder.graph(product))
    executable.run(lambda: False)
    device.synchronize()
    data = b"".join(bytes(p) for p in product.buffer.read(product.offset, product.nbytes))
    found = np.frombuffer(data, np.float32).reshape(4, 8)
    expected = b.astype(np.float64) @ a.T.astype(np.float64)
    product.buffer.free()
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= TOLERANCE:
        return f"relative error of a product is {error:.1e}, expected at most {TOLERANCE:.0e}"
    return ""


def _write(tensor: Tensor, data: memoryview) -> None:
    done = 0
    while done < len(data):
        piece = tensor.buffer.writable(tensor.offset + done, len(data) - done)
        piece[:] = data[done : done + len(piece)]
        tensor.buffer.commit(tensor.offset + done, len(piece))
        done += len(piece)
