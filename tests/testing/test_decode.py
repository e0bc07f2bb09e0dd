"""The graph of a transformer: its logits do not depend on how tokens are cut into batches."""

import numpy as np
import pytest

from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.decode import Decode, Shape, decode_graph
from ggmlrpc_core.testing.host import host_array
from ggmlrpc_core.testing.inputs import Inputs
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import write

TOKENS = [5, 9, 2, 7]


def logits(first: int, n_tokens: int, caches: list[Tensor]) -> tuple[np.ndarray, Decode]:
    """Run a batch of TOKENS on the caches of the one before."""
    device, b = ReferenceDevice(), Inputs(3)
    made = decode_graph(b, Shape(), first=first, n_tokens=n_tokens)
    allocate(made.outputs, device)
    for tensor, data in b.data:
        write(tensor.buffer, tensor.offset, data)
    host_array(made.tokens)[0, 0, 0] = TOKENS[first : first + n_tokens]
    for cache, old in zip(made.caches, caches):
        host_array(cache)[...] = host_array(old)
    device.prepare(b.graph(*made.outputs)).run(lambda: False)
    return host_array(made.outputs[-1])[0, 0], made


def test_batches_give_the_logits_of_one_large_batch():
    want, _ = logits(0, 4, [])
    assert np.isfinite(want).all() and want.std() > 0.01
    head, made = logits(0, 3, [])
    tail, _ = logits(3, 1, made.caches)
    assert np.concatenate([head, tail]) == pytest.approx(want, abs=1e-6)


def test_the_cache_is_written_before_it_is_read():
    b = Inputs(3)
    made = decode_graph(b, Shape())
    allocate(made.outputs, ReferenceDevice())
    order = [node.op for node in b.graph(*made.outputs).nodes if node.op != "RESHAPE"]
    assert order.count("SET_ROWS") == 2 * order.count("FLASH_ATTN_EXT") == len(made.caches) == 4
    for _ in range(2):
        at = order.index("FLASH_ATTN_EXT")
        assert order[:at].count("SET_ROWS") == 2
        order = order[at + 1 :]
