"""Put a random node into memory, run it on a device, and hold what it left there against the float64 evaluation.

Sources and results lie anywhere in one buffer: with gaps between rows, permuted, in the middle of something larger,
one row repeated by a stride of 0, results in the memory of a source. Every byte that belongs to nothing is 0xFF, which
is NaN to a device that reads it, and must still be 0xFF afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle.shapes import Draw, Form, Source
from oracle.table import ORACLE

from ggmlrpc_core import quants
from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import GraphBuilder, allocate, message_order
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.graph.views import RAW_DTYPE, raw_layout
from ggmlrpc_core.ops import check_nodes
from ggmlrpc_core.testing.inputs import quantizable, random_blocks

POISON = 0xFF
BOUND = {"F32": 1e-10, "F16": 1e-6, "BF16": 1e-4}
"""Normalised mean square error that a rounding to the type explains, and sums in f32."""
PLAIN, GAPS, PERMUTED, REPEATED = range(4)
SPECIAL = (np.inf, -np.inf, np.nan, -0.0, 1e-40)


class Trial:
    """One node, its sources and where they are.

    Args:
        form: what to make.
        d: draws layouts, and places of infinities.
        layouts: gaps, permutations and results in place may be drawn.
        special: infinities and NaN may be placed.
    """

    def __init__(self, form: Form, d: Draw, *, layouts: bool = True, special: bool = True) -> None:
        self.form = form
        self.rng = np.random.default_rng(d.int(0, 1 << 30))
        self._special = special and d.int(0, 2) == 2
        self._d: Draw | None = d if layouts else None
        self.build()
        if layouts and not self._legal():
            self._d = None
            self.build()
        check_nodes(*self._table())

    def build(self) -> None:
        """Make tensors; bound to no memory yet."""
        form, self.builder = self.form, GraphBuilder()
        self.sources = [None if s is None else self._place(s.type, s.ne) for s in form.src]
        ne = (*form.ne, *(1,) * (4 - len(form.ne)))
        options = {"src": self.sources, "params": form.params, "name": "y"}
        first = self.sources[0] if self.sources else None
        if form.within is not None:
            target = self.sources[form.within]
            assert target is not None
            self.node = self.builder.view_of(target, form.op, **options)
        elif (
            form.inplace
            and self._d
            and self._d.int(0, 3) == 3
            and first is not None
            and 0 not in first.nb
        ):
            self.node = self.builder.view_of(first, form.op, **options)
        elif self._d and self._d.int(0, 3) == 3:
            part = self._place(form.type, ne, repeated=False)
            self.node = self.builder.view_of(part, form.op, **options)
        else:
            self.node = self.builder.node(form.op, form.type, ne, **options)

    def _place(self, kind: str, ne: tuple[int, ...], *, repeated: bool = True) -> Tensor:
        """A tensor that is a leaf, or a view into a larger one."""
        b, d = self.builder, self._d
        ne = (*ne, *(1,) * (4 - len(ne)))
        layout = (
            d.pick(PLAIN, PLAIN, GAPS, PERMUTED, *([REPEATED] if repeated else [])) if d else PLAIN
        )
        if layout == GAPS and d:
            block = TYPES[kind].blck_size
            root = b.new_tensor(
                kind, ne[0] + block * d.int(0, 2), *(n + d.int(0, 1) for n in ne[1:])
            )
            start = [d.int(0, m - n) for n, m in zip(ne[1:], root.ne[1:])]
            inner = d.int(0, (root.ne[0] - ne[0]) // block) * TYPES[kind].type_size
            offset = inner + sum(i * nb for i, nb in zip(start, root.nb[1:]))
            return b.view_of(root, "VIEW", ne=ne, nb=root.nb, offset=offset, src=[root])
        if layout == PERMUTED and d:
            axes = list(range(4))
            for i in range(3, 0, -1):
                j = d.int(1 if TYPES[kind].quantized else 0, i)
                axes[i], axes[j] = axes[j], axes[i]
            root = b.new_tensor(kind, *(ne[axis] for axis in axes))
            nb = [0] * 4
            for at, axis in enumerate(axes):
                nb[axis] = root.nb[at]
            return b.view_of(root, "PERMUTE", ne=ne, nb=(nb[0], nb[1], nb[2], nb[3]), src=[root])
        if layout == REPEATED and d and max(ne[1:]) > 1:
            axis = d.pick(*[k for k in (1, 2, 3) if ne[k] > 1])
            root = b.new_tensor(kind, *(1 if k == axis else n for k, n in enumerate(ne)))
            nb = tuple(0 if k == axis else n for k, n in enumerate(root.nb))
            return b.view_of(root, "VIEW", ne=ne, nb=(nb[0], nb[1], nb[2], nb[3]), src=[root])
        return b.new_tensor(kind, *ne)

    def _table(self) -> tuple[TensorTable, np.ndarray]:
        tensors = message_order([self.node])
        rows = [i for i, t in enumerate(tensors) if t is self.node]
        return TensorTable.from_tensors(tensors), np.array(rows)

    def _legal(self) -> bool:
        try:
            check_nodes(*self._table())
        except BadGraph:
            return False
        return True

    def bind(self, device: Any) -> tuple[Graph, Any]:
        """Memory for everything, and the graph."""
        buffer = allocate([self.node, *(s for s in self.sources if s is not None)], device)
        return self.builder.graph(self.node), buffer

    def bytes_before(self, size: int) -> np.ndarray:
        """What the buffer holds: sources, and 0xFF."""
        memory = np.full(size, POISON, np.uint8)
        for source, tensor in zip(self.form.src, self.sources):
            if source is not None and tensor is not None:
                array_of(tensor, memory)[...] = self._values(source, tensor)
        return memory

    def _values(self, source: Source, tensor: Tensor) -> np.ndarray:
        dtype, shape, _ = raw_layout(tensor.type, tensor.ne, tensor.nb)
        name = tensor.type.name
        if name in ("I8", "I16", "I32", "I64"):
            values = self.rng.integers(-100, 100, shape) if source.data is None else source.data
            return np.reshape(values, shape).astype(dtype)
        if source.data is None and tensor.type.quantized and not quantizable(name):
            return random_blocks(
                self.rng, name, int(np.prod(shape)) // tensor.type.type_size
            ).reshape(shape)
        values = self.rng.standard_normal(tensor.shape) if source.data is None else source.data
        values = np.array(np.reshape(values, tensor.shape), np.float32)
        if self._special and source.special and source.data is None and not tensor.type.quantized:
            for _ in range(1 + values.size // 30):
                values[tuple(self.rng.integers(n) for n in values.shape)] = self.rng.choice(SPECIAL)
        if name == "F64":
            return values.astype(dtype)
        return quants.from_f32(np, values, tensor.type)

    def expected(self, memory: np.ndarray) -> dict[int, np.ndarray]:
        """The float64 evaluation: elements of the node (-1) and of sources that are written."""
        sources = [None if t is None else numbers(t, memory) for t in self.sources]
        with np.errstate(all="ignore"):
            value = ORACLE[self.form.op](self.node, *sources)
        return value if isinstance(value, dict) else {-1: value}

    def judge(self, before: np.ndarray, after: np.ndarray, *, nmse: float | None = None) -> None:
        """Raise AssertionError for a wrong element, or a changed byte that belongs to no result.

        Args:
            before, after: the bytes of the buffer.
            nmse: bound; None for that of the form or type.
        """
        mine = np.zeros(len(before), np.uint8)
        wanted = self.expected(before)
        for slot, value in wanted.items():
            tensor = self.node if slot < 0 else self.sources[slot]
            assert tensor is not None
            mark(tensor, mine)
            if nmse is None:
                nmse = self.form.nmse
            close(tensor, after, value, nmse=nmse)
        stray = np.flatnonzero((before != after) & (mine == 0))
        assert not stray.size, f"byte {stray[0]} changed, which is not of {self.node!r}"


def array_of(tensor: Tensor, memory: np.ndarray) -> np.ndarray:
    """The raw array of a tensor in the bytes of its buffer."""
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    return np.ndarray(shape, dtype, buffer=memory.data, offset=tensor.offset, strides=strides)


def mark(tensor: Tensor, memory: np.ndarray) -> None:
    """Set the bytes of a tensor's elements to 0xFF."""
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    ones = np.dtype(f"u{dtype.itemsize}")
    view = np.ndarray(shape, ones, buffer=memory.data, offset=tensor.offset, strides=strides)
    view[...] = np.iinfo(ones).max


def numbers(tensor: Tensor, memory: np.ndarray) -> np.ndarray:
    """The elements: float64, or int64."""
    raw = array_of(tensor, memory)
    if tensor.type.name in RAW_DTYPE and tensor.type.name != "BF16":
        return raw.astype(np.int64 if raw.dtype.kind == "i" else np.float64)
    return quants.to_f32(np, raw, tensor.type).astype(np.float64)


def close(tensor: Tensor, memory: np.ndarray, expected: np.ndarray, *, nmse: float | None) -> None:
    """Hold a result against expected elements; integers and quantized values with bound 0 must be equal."""
    name, got = tensor.type.name, numbers(tensor, memory)
    if got.dtype.kind == "i":
        if tensor.op == "TOP_K":
            got, expected = np.sort(got, axis=-1), np.sort(expected, axis=-1)
        assert np.array_equal(got, np.trunc(expected).astype(np.int64)), (
            f"{tensor!r}:\n{got}\n{expected}"
        )
        return
    with np.errstate(all="ignore"):
        single = np.asarray(expected, np.float64).astype(
            np.float64 if name == "F64" else np.float32
        )
        if (name not in ("F32", "F64") and tensor.type.from_f32) or name in ("F16", "BF16"):
            raw = quants.from_f32(np, np.ascontiguousarray(single), tensor.type)
            rounded = quants.to_f32(np, raw, tensor.type)
            # Blocks that were copied are not encoded again, which could choose other scales.
            single = np.where(got == single, single, rounded)
    want = single.astype(np.float64)
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite], want[~finite], equal_nan=True), (
        f"{tensor!r}:\n{got}\n{want}"
    )
    error = np.square(got[finite] - want[finite]).sum()
    limit = (
        BOUND.get(name, 1e-3)
        if nmse is None
        else max(nmse, BOUND[name] if nmse and name in BOUND else 0.0)
    )
    size = np.square(want[finite]).sum() + 1e-3 * finite.sum()
    assert error <= limit * size, f"{tensor!r}: nmse {error / size:.3g} > {limit:g}\n{got}\n{want}"
