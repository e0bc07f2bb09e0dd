"""Small tensors in host memory, and ways to run, check and compare one node."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.graph.tensor import Tensor, contiguous_nb
from ggmlrpc_core.graph.views import raw_view
from ggmlrpc_core.ops import check_nodes, run_node
from ggmlrpc_core.ops.values import encode, floats

INTEGERS = ("I8", "I16", "I32", "I64")


def view(tensor: Tensor) -> np.ndarray:
    """The raw array of a tensor whose buffer is a uint8 array."""
    return raw_view(tensor, tensor.buffer)


class Bench:
    """Makes tensors with data, runs nodes, and asks the validator."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.ids = itertools.count(1)

    def tensor(
        self, type: str, *ne: int, nb: tuple[int, ...] | None = None, **fields: Any
    ) -> Tensor:
        """A tensor of zeros in memory of its own (or in `buffer` at `offset`)."""
        full = (*ne, *(1,) * (4 - len(ne)))
        t = Tensor(
            id=next(self.ids),
            type=TYPES[type],
            ne=full,
            nb=nb or contiguous_nb(TYPES[type], full),
            **fields,
        )
        if t.buffer is None:
            t.buffer = np.zeros(max(t.nbytes, 1), np.uint8)
        return t

    def leaf(self, type: str, *ne: int, data: Any = None, **fields: Any) -> Tensor:
        """A tensor with given numbers, or normally distributed ones."""
        t = self.tensor(type, *ne, **fields)
        values = self.rng.standard_normal(t.shape) if data is None else np.reshape(data, t.shape)
        if type not in INTEGERS:
            values = encode(np, np.asarray(values, np.float32), t.type)
        view(t)[...] = values
        return t

    def part(self, base: Tensor, *ne: int, nb: tuple[int, ...], offset: int = 0) -> Tensor:
        """A view of a tensor with its own strides, in bytes."""
        full = (*ne, *(1,) * (4 - len(ne)))
        return Tensor(
            id=next(self.ids), type=base.type, ne=full, nb=nb, op="VIEW", src=(base,), view_src=base,
            buffer=base.buffer, offset=base.offset + offset,
        )  # fmt: skip

    def transposed(self, base: Tensor, *axes: int) -> Tensor:
        """A view with dimension d of the base at place axes[d]."""
        ne, nb = [0] * 4, [0] * 4
        for d, axis in enumerate(axes):
            ne[axis], nb[axis] = base.ne[d], base.nb[d]
        return self.part(base, *ne, nb=tuple(nb))

    def node(
        self,
        op: str,
        type: str,
        ne: tuple[int, ...],
        *src: Tensor | None,
        params: Mapping[int, float] | None = None,
        **fields: Any,
    ) -> Tensor:
        """A node named 'y'; float parameters are stored as their bits."""
        slots = [0] * 16
        for slot, value in (params or {}).items():
            bits = (
                struct.unpack("<i", struct.pack("<f", value))[0]
                if isinstance(value, float)
                else value
            )
            slots[slot] = bits
        return self.tensor(type, *ne, op=op, src=src, op_params=tuple(slots), name="y", **fields)

    def numbers(self, tensor: Tensor) -> np.ndarray:
        """The elements in f64 (integers as they are), NumPy order."""
        raw = view(tensor).copy()
        return raw if tensor.type.name in INTEGERS else floats(np, raw, tensor).astype(np.float64)

    def check(self, *nodes: Tensor) -> None:
        """Validate nodes with everything they reach."""
        seen: dict[int, Tensor] = {}

        def visit(t: Tensor) -> None:
            if id(t) not in seen:
                seen[id(t)] = t
                for s in t.src:
                    if s is not None:
                        visit(s)

        for t in nodes:
            visit(t)
        tensors = list(seen.values())
        rows = [i for i, t in enumerate(tensors) if any(t is n for n in nodes)]
        check_nodes(TensorTable.from_tensors(tensors), np.array(rows))

    def run(self, node: Tensor) -> np.ndarray:
        """Validate and run a node; its elements."""
        self.check(node)
        run_node(np, node, view)
        return self.numbers(node)

    def refusal(self, node: Tensor) -> str:
        """The sentence with which a node is refused."""
        with pytest.raises(BadGraph) as caught:
            self.check(node)
        return str(caught.value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def assert_close() -> Any:
    def compare(found: np.ndarray, expected: np.ndarray, nmse: float = 1e-13) -> None:
        __tracebackhide__ = True
        expected = np.asarray(expected, np.float64).reshape(found.shape)
        assert np.array_equal(np.isfinite(found), np.isfinite(expected))
        fin = np.isfinite(expected)
        assert np.array_equal(found[~fin], expected[~fin], equal_nan=True)
        error = np.sum((found[fin] - expected[fin]) ** 2) / max(np.sum(expected[fin] ** 2), 1e-300)
        assert error <= nmse, f"nmse {error:.2e}"

    return compare
