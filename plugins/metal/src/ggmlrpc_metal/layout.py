"""What a stage reads and writes, found without computing anything: no MLX here.

A stage is a run of nodes that becomes one function from arrays to arrays. Its *inputs* are extents of buffers as they
are before it; every node makes one new *value*, an array that stands for a range of its buffer. Values and inputs are
numbered (*slots*). The builder keeps for each range the value that wrote it last; a node whose sources cannot be taken
from one value or one input does not fit, and the stage ends before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import raw_layout
from ggmlrpc_core.ops.declare import OPS
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.segments import Segment, Segments

LONGEST = 2**31 - 1
"""Most elements along one dimension of an MLX array."""
MOST_HOPS = 16
"""A chain of views that is longer belongs to nobody's graph."""
PARTIAL_OPS = frozenset({"SET_ROWS", "SSM_SCAN"})
"""Ops that may leave a part of their node's memory as it is."""


class Input(NamedTuple):
    """Bytes [lo, hi) of a buffer as an array; flat words ("uint64") where items would be too many for a dimension."""

    buffer: Any
    lo: int
    hi: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """How a raw array is taken from the elements of a slot.

    Attributes:
        slot: a value or an input.
        dtype: of the raw array; the elements are viewed as it.
        shape: of the raw array.
        strides: in elements; None when there are no gaps.
        offset: of the first element.
        from_input: the slot is an input.
    """

    slot: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    offset: int
    from_input: bool


@dataclass(frozen=True, slots=True)
class Update:
    """The node writes into an older tensor instead of making its own: elements from `offset` on, with these strides.

    `base` reads all of that tensor, flat, as the dtype of the node.
    """

    base: Read
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Step:
    """One node: which slots it reads, how it stores, and its form.

    Attributes:
        check: source slot of ids that earlier steps computed, and their limit; None when the host checks the ids.
    """

    node: Tensor
    reads: tuple[Read | None, ...]
    update: Update | None
    override: Override | None
    slot: int
    check: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes [lo, hi) of a buffer that are elements [start, stop) of a slot, viewed as bytes when `as_bytes`."""

    buffer: Any
    lo: int
    hi: int
    slot: int
    start: int
    stop: int
    as_bytes: bool


@dataclass(frozen=True, slots=True)
class HostCheck:
    """Ids that are in memory before the stage: to be checked on the host."""

    node: Tensor
    ids: Tensor
    limit: int


@dataclass(slots=True)
class StageSpec:
    """A finished stage; see the module's docstring."""

    steps: list[Step] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    host_checks: list[HostCheck] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    slot: int
    lo: int
    hi: int
    itemsize: int
    node: Tensor | None  # only for a value with memory of its own

    def divides(self, lo: int, size: int) -> bool:
        """Whether it is whole items of `size` bytes, one of which starts at `lo`."""
        return (lo - self.lo) % size == 0 and (self.hi - self.lo) % size == 0


def root_of(tensor: Tensor) -> Tensor:
    """The tensor that owns the memory of a view; the tensor itself where the chain does not hold it."""
    root = tensor
    for _ in range(MOST_HOPS):
        if root.view_src is None:
            break
        root = root.view_src
    lo, hi = tensor.offset, tensor.offset + tensor.nbytes
    holds = root.buffer is tensor.buffer and root.offset <= lo and hi <= root.offset + root.nbytes
    return root if holds else tensor


def aligned(tensor: Tensor) -> bool:
    """Whether offset and strides are whole elements of the raw array, and its extents can be MLX's."""
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    size = dtype.itemsize
    whole = all(b % size == 0 for n, b in zip(shape, strides) if n > 1)
    return whole and tensor.offset % size == 0 and max(shape) <= LONGEST


def element_strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides of the raw array in elements; 0 along extents of 1."""
    dtype, shape, strides = raw_layout(tensor.type, tensor.ne, tensor.nb)
    return tuple(b // dtype.itemsize if n > 1 else 0 for n, b in zip(shape, strides))


class StageBuilder:
    """Collects the nodes of one stage. Slots of values count from 0, those of inputs from -1 down."""

    def __init__(self) -> None:
        self._inputs: dict[Input, int] = {}
        # By id of the buffer: the buffer, and which value has the newest bytes of which range.
        self._newest: dict[int, tuple[Any, Segments]] = {}
        self._checked: dict[tuple[object, ...], HostCheck] = {}
        self._next = 0
        self._spec = StageSpec()

    def __len__(self) -> int:
        return len(self._spec.steps)

    def add(self, node: Tensor, override: Override | None) -> bool:
        """Take one more node; False when it must begin another stage, which holds it as its first node."""
        reads = []
        op = OPS[node.op]
        for source in node.src[: len(op.sources)]:
            read = None if source is None else self._read(source)
            if source is not None and read is None:
                return False
            reads.append(read)
        reads += [None] * (len(op.sources) - len(reads))
        in_place = node.view_src is not None or not node.contiguous or node.op in PARTIAL_OPS
        update = self._update(node) if in_place else None
        if in_place and update is None:
            return False
        check = None
        if op.ids is not None:
            ids, read = node.src[op.ids.slot], reads[op.ids.slot]
            assert ids is not None and read is not None, "ids are a required source"
            limit = op.ids.limit(node)
            if read.slot < 0:
                # Layers write their caches by the same ids: one look is enough.
                where = (id(ids.buffer), ids.offset, ids.type.name, ids.ne, ids.nb, limit)
                self._checked.setdefault(where, HostCheck(node, ids, limit))
            else:
                check = (op.ids.slot, limit)
        slot = self._next
        self._next += 1
        self._spec.steps.append(Step(node, tuple(reads), update, override, slot, check))
        self._written(node, slot, update)
        return True

    def finish(self, keeps: Callable[[Tensor], bool]) -> StageSpec:
        """The stage; the builder is not used any more.

        Args:
            keeps: whether the result of a node must be in memory after this stage.
        """
        self._spec.inputs = list(self._inputs)
        self._spec.host_checks = list(self._checked.values())
        for buffer, newest in self._newest.values():
            for part in newest:
                value: _Value = part.array
                if value.node is None or keeps(value.node):
                    self._spec.outputs.append(_output(buffer, value, part.lo, part.hi))
        return self._spec

    def _find(self, buffer: Any, lo: int, hi: int) -> tuple[_Value | None, bool]:
        """(a value that wrote into [lo, hi), whether all of the newest bytes there are its own)."""
        _, newest = self._newest.get(id(buffer), (None, None))
        found = newest.overlapping(lo, hi) if newest is not None else []
        if not found:
            return None, True
        # Parts of one value are apart where another one has written between them.
        return found[0].array, len(found) == 1 and found[0].lo <= lo and hi <= found[0].hi

    def _input(self, owner: Tensor) -> tuple[int, int]:
        """(slot, lo) of the input that holds a tensor."""
        dtype, shape, _ = raw_layout(owner.type, owner.ne, owner.nb)
        lo, hi = owner.offset, owner.offset + owner.nbytes
        count = (hi - lo) // dtype.itemsize
        if count > LONGEST:
            key = Input(owner.buffer, lo, hi, "uint64", (-(-(hi - lo) // 8),))
        else:
            shape = shape if owner.contiguous else (count,)
            key = Input(owner.buffer, lo, hi, dtype.name, shape)
        return self._inputs.setdefault(key, -1 - len(self._inputs)), lo

    def _read(self, tensor: Tensor) -> Read | None:
        dtype, shape, _ = raw_layout(tensor.type, tensor.ne, tensor.nb)
        size = dtype.itemsize
        lo, hi = tensor.offset, tensor.offset + tensor.nbytes
        value, whole = self._find(tensor.buffer, lo, hi)
        if value is not None:
            if not whole or not value.divides(lo, size):
                return None
            slot, start = value.slot, value.lo
        else:
            owner = root_of(tensor)
            if (lo - owner.offset) % size or owner.nbytes % size or not aligned(owner):
                owner = tensor
            slot, start = self._input(owner)
        strides = None if tensor.contiguous else element_strides(tensor)
        return Read(slot, dtype.name, shape, strides, (lo - start) // size, slot < 0)

    def _update(self, node: Tensor) -> Update | None:
        owner = root_of(node)
        dtype = raw_layout(node.type, node.ne, node.nb)[0]
        size = dtype.itemsize
        if (node.offset - owner.offset) % size or owner.nbytes % size or not aligned(owner):
            owner = node
        lo, hi = owner.offset, owner.offset + owner.nbytes
        value, whole = self._find(node.buffer, lo, hi)
        if value is not None:
            if not whole or not value.divides(lo, size):
                return None
            slot, start = value.slot, value.lo
        else:
            slot, start = self._input(owner)
        base = Read(slot, dtype.name, ((hi - lo) // size,), None, (lo - start) // size, slot < 0)
        return Update(base, element_strides(node), (node.offset - lo) // size)

    def _written(self, node: Tensor, slot: int, update: Update | None) -> None:
        itemsize = raw_layout(node.type, node.ne, node.nb)[0].itemsize
        lo, hi = node.offset, node.offset + node.nbytes
        if update is not None:
            lo -= update.offset * itemsize
            hi = lo + update.base.shape[0] * itemsize
        _, newest = self._newest.setdefault(id(node.buffer), (node.buffer, Segments()))
        for part in newest.overlapping(lo, hi):
            newest.remove(part)
            for a, b in ((part.lo, min(part.hi, lo)), (max(part.lo, hi), part.hi)):
                if a < b:
                    newest.add(Segment(a, b, part.array))
        value = _Value(slot, lo, hi, itemsize, node if update is None else None)
        newest.add(Segment(lo, hi, value))


def _output(buffer: Any, value: _Value, lo: int, hi: int) -> Output:
    size, first = value.itemsize, lo - value.lo
    as_bytes = bool(first % size or (hi - lo) % size)
    size = 1 if as_bytes else size
    return Output(buffer, lo, hi, value.slot, first // size, (hi - value.lo) // size, as_bytes)
