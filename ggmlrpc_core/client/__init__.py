"""The Python client: a remote device, its buffers, and graphs that run there.

import numpy as np
from ggmlrpc_core.client import get_tensor, rpc_init, set_tensor
from ggmlrpc_core.graph.build import GraphBuilder, allocate

with rpc_init("127.0.0.1:50052") as device:
    b = GraphBuilder()
    w = b.new_tensor("Q8_0", 256, 64, name="w")        # ne[0] first: 64 rows of 256
    x = b.new_tensor("F32", 256, 1, name="x")
    y = b.mul_mat(w, x)
    allocate([y], device)                              # one remote buffer for all three
    set_tensor(w, np.random.randn(64, 256))            # NumPy order; quantized on the way
    set_tensor(x, np.random.randn(1, 256))
    graph = b.graph(y)
    device.compute(graph)
    print(get_tensor(y))                               # float32, shape (1, 1, 1, 64)
    device.compute(graph)                              # the same again: only 4 bytes are sent
"""

from ggmlrpc_core.client.connection import ClientConnection
from ggmlrpc_core.client.greeting import connect
from ggmlrpc_core.client.remote import (
    RemoteBuffer,
    RemoteDevice,
    RemoteServer,
    get_tensor,
    rpc_init,
    set_tensor,
)
from ggmlrpc_core.endpoint import Endpoint

__all__ = [
    "ClientConnection",
    "Endpoint",
    "RemoteBuffer",
    "RemoteDevice",
    "RemoteServer",
    "connect",
    "get_tensor",
    "rpc_init",
    "set_tensor",
]
