"""Run an op case node by node with the overrides, without a device: for tests of single forms."""

from __future__ import annotations

from collections import Counter

import mlx.core as mx
import numpy as np
from ggmlrpc_metal.override import Override, find_override
from ggmlrpc_metal.overrides import ALL

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import OPS
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_core.ops.store import store
from ggmlrpc_core.testing.cases import Case
from ggmlrpc_core.testing.host import host_array
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import Loaded, compare, expected_of


def compute(override: Override, node: Tensor) -> np.ndarray:
    """What an override gives for a node in host memory, with strided sources as they are."""
    op = OPS[node.op]
    raws: list[mx.array | None] = [None] * len(op.sources)
    for slot, source in enumerate(node.src[: len(op.sources)]):
        if source is not None:
            raws[slot] = strided(host_array(source))
    return np.array(override.compute(node, *raws, **{p.name: p.read(node) for p in op.params}))


def strided(view: np.ndarray) -> mx.array:
    """A view of the same strides on MLX."""
    owner = np.asarray(view.base).reshape(-1).view(np.uint8)
    start = view.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    reach = sum((n - 1) * s for n, s in zip(view.shape, view.strides)) + view.itemsize
    flat = mx.array(owner[start : start + reach].view(view.dtype))
    return mx.as_strided(flat, view.shape, [s // view.itemsize for s in view.strides])


def run(case: Case, *, gpu: bool, judge: bool) -> Counter[str]:
    """Run a case; the modules that computed nodes of its op, "table" where none did."""
    loaded = Loaded(case, ReferenceDevice())
    used: Counter[str] = Counter()
    for node in loaded.graph.work:
        override = find_override(ALL, node, gpu=gpu)
        if override is None:
            run_node(np, node, host_array)
        else:
            store(np, node, compute(override, node), host_array)
        if node.op == case.op:
            used["table" if override is None else override.compute.__module__] += 1
    if judge:
        compare(case, loaded.outputs, expected_of(case), loaded.bytes())
    return used
