"""A small graph on a device, for several test files."""

from __future__ import annotations

import numpy as np
from ggmlrpc_metal.device import MetalDevice

from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.testing.run_case import read, write


def never() -> bool:
    return False


def simple(device: MetalDevice, factor: float = 2.0, n: int = 8) -> tuple[Graph, Tensor, Tensor]:
    """out = x * factor + x."""
    b = GraphBuilder()
    x = b.new_tensor("F32", n, name="x")
    out = b.add(b.scale(x, factor), x)
    allocate([out], device)
    write(x.buffer, x.offset, np.arange(n, dtype=np.float32))
    return b.graph(out), x, out


def values(tensor: Tensor, dtype: str = "f4") -> np.ndarray:
    return np.frombuffer(read(tensor.buffer, tensor.offset, tensor.nbytes), dtype)
