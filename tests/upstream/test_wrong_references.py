"""What upstream's CPU backend gets wrong, shown on the stock server with numbers that are exact in f32."""

from __future__ import annotations

import numpy as np
import pytest
from upstream.build_stock import Stock
from upstream.servers import Server

from ggmlrpc_core.client import rpc_init
from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.testing.inputs import Inputs

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
"""Transposed: ne = [4, 3], nb = [12, 4] bytes."""

NEIGHBOURS = float(sum(VALUES.ravel()[row : row + 4].sum() for row in range(3)))
"""Four neighbouring elements for each of three rows, as if nb[0] were 4."""


@pytest.mark.parametrize(("kind", "expected"), [("ggmlrpc", VALUES.sum()), ("stock", NEIGHBOURS)])
def test_sum_of_a_transposed_tensor(stock: Stock, kind: str, expected: float) -> None:
    b = Inputs()
    out = b.sum(b.permute(b.given("F32", VALUES), 1, 0, 2, 3))
    with (
        Server(kind, stock=stock) as server,
        rpc_init(server.endpoint, timeout=60) as device,
        allocate([out, *(t for t, _ in b.data)], device) as buffer,
    ):
        for tensor, data in b.data:
            buffer.set(data, tensor.offset)
        device.compute(b.graph(out))
        found = np.frombuffer(buffer.get(), np.uint8)[out.offset : out.offset + 4]
    assert found.view(np.float32)[0] == expected
