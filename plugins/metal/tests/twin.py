"""Random graphs and accesses on two buffers of a device, and the same on plain NumPy bytes.

Tensors lie anywhere, so they overlap as an allocator that reuses memory makes them and are read as other types; views
are strided and transposed; nodes write to new memory, over their source, in place, into views and by row number.
"""

from __future__ import annotations

import numpy as np

from ggmlrpc_core.device import Buffer, Device
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, Graph, Tensor, contiguous_nb
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_core.testing.host import HostDevice, host_array
from ggmlrpc_core.testing.run_case import read, write

SIZE = 4096
MAX_ROWS = 6
HALF = (int(np.float32(0.5).view(np.int32)), *(0,) * 15)
"""op_params of SCALE by 0.5."""


class Twin:
    """Buffers 0 and 1 with numbers, and buffer 2 with row numbers that nothing overwrites."""

    def __init__(self, device: Device, rng: np.random.Generator) -> None:
        self.rng = rng
        self.ours: list[Buffer] = [device.alloc(SIZE) for _ in range(3)]
        self.model: list[Buffer] = [HostDevice().alloc(SIZE) for _ in range(3)]
        for i in range(2):
            self.set(i, 0, self.numbers(SIZE))
        self.set(2, 0, rng.integers(0, MAX_ROWS, SIZE // 4).astype(np.int32).tobytes())

    def numbers(self, size: int) -> bytes:
        """Small floats."""
        return self.rng.integers(-9, 9, size // 4 + 1).astype(np.float32).tobytes()[:size]

    def set(self, i: int, offset: int, data: bytes) -> None:
        """Write on both sides."""
        write(self.ours[i], offset, data)
        write(self.model[i], offset, data)

    def access(self) -> None:
        """One thing that a client does between graphs: SET, MEMSET, COPY or GET of any range."""
        i, j, choice = (int(n) for n in self.rng.integers(0, (2, 2, 4)))
        offset = int(self.rng.integers(0, SIZE))
        size = int(self.rng.integers(0, min(700, SIZE - offset) + 1))
        if choice == 0:
            self.set(i, offset, self.numbers(size))
        elif choice == 1:
            value = int(self.rng.choice([0, 0, 0x3C]))
            self.ours[i].fill(offset, size, value)
            self.model[i].fill(offset, size, value)
        elif choice == 2:
            to = int(self.rng.integers(0, SIZE - size + 1))
            assert self.ours[j].copy_from(self.ours[i], offset, to, size)
            self.model[j].copy_from(self.model[i], offset, to, size)
        else:
            part = read(self.model[i], 0, SIZE)[offset : offset + size]
            assert read(self.ours[i], offset, size) == part

    def check(self) -> None:
        """Every byte is equal; where both sides have a NaN the model takes ours, for its bits are nobody's promise."""
        for i in range(2):
            got = np.frombuffer(read(self.ours[i], 0, SIZE), np.uint8)
            want = np.frombuffer(read(self.model[i], 0, SIZE), np.uint8)
            if not np.array_equal(got, want):
                differ = np.flatnonzero(~(equal(got, want, "f4") | equal(got, want, "f2")))
                assert not len(differ), f"buffer {i} differs from byte {differ[0]} on"
                write(self.model[i], 0, got)

    def free(self) -> None:
        """Give the device's buffers back."""
        for buffer in self.ours:
            buffer.free()


def equal(got: np.ndarray, want: np.ndarray, dtype: str) -> np.ndarray:
    """For each byte: it is equal, or part of a NaN on both sides."""
    both = np.isnan(got.view(dtype)) & np.isnan(want.view(dtype))
    return (got == want) | np.repeat(both, np.dtype(dtype).itemsize)


class Maker:
    """Makes one random graph over a twin."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._rng = twin.rng
        self.nodes: list[Tensor] = []
        kinds = ["F32", "F32", "F32", "F16", "I32", "I8"]
        self._live = [self._leaf(str(self._rng.choice(kinds)), *self._sides(2)) for _ in range(6)]

    def graph(self, n_nodes: int, *, counted: bool = False) -> tuple[Graph, Graph]:
        """Of `n_nodes` nodes at least, on the device and on the model; `counted` fills use_count."""
        makers = (self._scale, self._convert, self._add, self._copy, self._in_place, self._rows)
        while len(self.nodes) < n_nodes:
            makers[int(self._rng.integers(0, len(makers)))]()
        for node in self.nodes:
            node.use_count = counted * sum(s is node for n in self.nodes for s in n.src)
        made: dict[int, Tensor] = {}
        return Graph(self.nodes), Graph([self._on_model(node, made) for node in self.nodes])

    # --- one node each; some find no place and make none

    def _scale(self) -> None:
        source = self._some("F32")
        node = self._tensor("F32", source.ne, op="SCALE", src=(source,))
        node.op_params = HALF
        if self._rng.random() < 0.4 and source.contiguous:  # over its source, as allocators do
            node.buffer, node.offset = source.buffer, source.offset
            self._computed(node)
        elif self._place(node):
            self._computed(node)

    def _convert(self) -> None:
        source = self._some()
        kind = source.type.name
        if kind in ("F32", "F16") and self._rng.random() < 0.5:
            kind = "F16" if kind == "F32" else "F32"
        node = self._tensor(kind, source.ne, op="CONT", src=(source,))
        if self._place(node):
            self._computed(node)

    def _add(self) -> None:
        a, b = self._some("F32"), self._some("F32")
        b = b if b.ne == a.ne else a
        node = self._tensor("F32", a.ne, op="ADD", src=(a, b))
        if self._place(node):
            self._computed(node)

    def _copy(self) -> None:
        target = self._view(self._some())
        source = self._tensor(target.type.name, target.ne)
        if self._place(source) and not touch(source, target):
            target.op, target.src = "CPY", (source, target)

    def _in_place(self) -> None:
        source = self._some("F32")
        node = self._tensor("F32", source.ne, op="SCALE", src=(source,))
        node.op_params, node.nb = HALF, source.nb
        node.buffer, node.offset = source.buffer, source.offset
        node.view_src = source.view_src or source
        self._computed(node)

    def _rows(self) -> None:
        n, n_rows, n_ids = (int(v) for v in self._rng.integers(1, (7, 3, 7)))
        table = self._tensor("F32", (n, MAX_ROWS + n_rows - 1, 1, 1))
        values = self._tensor("F32", (n, n_ids, 1, 1))
        ids = self._tensor("I32", (n_ids, 1, 1, 1))
        ids.buffer, ids.offset = self._twin.ours[2], int(self._rng.integers(0, 64)) * 4
        if self._place(table) and self._place(values) and not touch(table, values):
            node = self._tensor("F32", table.ne, op="SET_ROWS", src=(values, ids, table))
            node.buffer, node.offset, node.view_src = table.buffer, table.offset, table
            self._computed(node)

    # --- tensors

    def _sides(self, n: int) -> tuple[int, ...]:
        return tuple(int(v) for v in self._rng.integers(1, 7, n))

    def _tensor(
        self, kind: str, ne: tuple[int, ...], *, op: str = "NONE", src: tuple[Tensor, ...] = ()
    ) -> Tensor:
        full = (*ne, 1, 1)[:4]
        return Tensor(1, TYPES[kind], full, contiguous_nb(TYPES[kind], full), op=op, src=src)

    def _leaf(self, kind: str, *ne: int) -> Tensor:
        leaf = self._tensor(kind, ne)
        self._place(leaf)
        return leaf

    def _place(self, tensor: Tensor) -> bool:
        """Give it memory that none of its sources has."""
        for _ in range(20):
            tensor.buffer = self._twin.ours[int(self._rng.integers(0, 2))]
            tensor.offset = int(self._rng.integers(0, (SIZE - tensor.nbytes) // 8 + 1)) * 8
            if not any(touch(source, tensor) for source in tensor.src):
                return True
        return False

    def _computed(self, node: Tensor) -> None:
        node.flags = FLAG_COMPUTE
        self.nodes.append(node)
        self._live.append(node)

    def _some(self, kind: str = "") -> Tensor:
        """A tensor of the graph so far, or a part of one."""
        found = [t for t in self._live if not kind or t.type.name == kind]
        chosen = found[int(self._rng.integers(0, len(found)))] if found else self._leaf(kind, 3, 2)
        return self._view(chosen) if self._rng.random() < 0.5 else chosen

    def _view(self, tensor: Tensor) -> Tensor:
        """A part of a matrix, perhaps transposed."""
        ne, nb, offset = list(tensor.ne), list(tensor.nb), tensor.offset
        for d in (0, 1):
            start = int(self._rng.integers(0, ne[d]))
            offset += start * nb[d]
            ne[d] = int(self._rng.integers(1, ne[d] - start + 1))
        if self._rng.random() < 0.4:
            ne[0], ne[1], nb[0], nb[1] = ne[1], ne[0], nb[1], nb[0]
        view = self._tensor(tensor.type.name, tuple(ne), op="VIEW", src=(tensor,))
        view.nb, view.buffer, view.offset = tuple(nb), tensor.buffer, offset  # type: ignore[assignment]
        view.view_src, view.flags = tensor.view_src or tensor, FLAG_COMPUTE
        self.nodes.append(view)
        return view

    def _on_model(self, tensor: Tensor, made: dict[int, Tensor]) -> Tensor:
        """The same tensor in the model's buffers."""
        if id(tensor) not in made:
            t = tensor
            copy = made[id(t)] = Tensor(t.id, t.type, t.ne, t.nb, t.op, t.op_params, t.flags)
            copy.buffer = self._twin.model[self._twin.ours.index(t.buffer)]
            copy.offset = t.offset
            copy.src = tuple(self._on_model(s, made) for s in t.src if s is not None)
        return made[id(tensor)]


def touch(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors share a byte."""
    apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
    return a.buffer is b.buffer and not apart


def compute(graph: Graph) -> None:
    """The reference, node by node on the bytes of the model."""
    with np.errstate(all="ignore"):
        for node in graph.work:
            run_node(np, node, host_array)
