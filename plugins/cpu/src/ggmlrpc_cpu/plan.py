"""From a graph to stages: which nodes become records, where their memory is, what runs on one thread.

No numba here: a plan asks `Kernels` for addresses, and what has none becomes a host stage.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ggmlrpc_core.errors import OutOfDeviceMemory
from ggmlrpc_core.graph.tensor import FLAG_OUTPUT, Graph, Tensor
from ggmlrpc_cpu import record as R
from ggmlrpc_cpu.stamp import Stamps, tensors_of
from ggmlrpc_cpu.step import FAMILIES, LAYOUT_ONLY, Context, Step

SOLO_COST = 6000.0
"""Nanoseconds below which a step is not worth a barrier."""
SLICE_COST = 40e6
"""Nanoseconds of work, on all threads, after which a run asks whether to stop."""
HOST_COST = 40e6
"""What a host stage is taken to cost, so that it is a slice of its own."""
HOST_SECONDS_PER_NODE, HOST_SECONDS_PER_WEIGHT = 5e-5, 4e-9
"""What the reference takes for a small node, and to dequantize a weight."""
SPARE_FACTOR, SPARE_BYTES = 4, 256 << 20
"""Most memory of a step beside its tensors: a factor of the bytes that they span, and what is always granted."""
CACHE_LINE = 64
_RECORD = struct.Struct(f"<{R.SLOTS}q")
_PARAMS, _PARAM_SLOTS = struct.Struct("<16i"), struct.Struct("<8q")


class KernelSource(Protocol):
    """Where addresses come from (compile.Kernels, or the one that compiles in the background)."""

    def address(self, name: str) -> int | None:
        """The address of a ready kernel; None asks for it to be made ready."""
        ...


@dataclass(slots=True)
class HostStage:
    """One node that the reference op computes."""

    node: Tensor


@dataclass(slots=True)
class CompiledStage:
    """Records [first, last) with their estimated cost, and whether one thread does them all."""

    first: int
    last: int
    alone: bool


@dataclass(slots=True, eq=False)
class Plan:
    """A prepared graph.

    Attributes:
        stages: in order; a compiled stage is at most SLICE_COST long unless it is one record.
        records: int64 [n, SLOTS], or empty.
        counters: int64, one cache line each; zero them before each run.
        error: int64[4], see record.ERROR.
        buffers: every buffer that a record points into.
        missing: kernels that were not ready; a plan made again when they are runs faster.
        keep: arrays whose addresses are in records.
    """

    graph: Graph
    stages: list[HostStage | CompiledStage]
    records: np.ndarray
    counters: np.ndarray
    error: np.ndarray
    buffers: frozenset[Any]
    missing: frozenset[str]
    keep: list[Any] = field(default_factory=list)


def host_seconds(plan: Plan) -> float:
    """About how long the host stages of a plan take, from the weights of their matrix products."""
    total = 0.0
    for stage in plan.stages:
        if isinstance(stage, HostStage):
            total += HOST_SECONDS_PER_NODE
            weights = stage.node.src[0] if stage.node.op in ("MUL_MAT", "MUL_MAT_ID") else None
            if weights is not None:
                total += HOST_SECONDS_PER_WEIGHT * weights.nelements
    return total


def _span(tensor: Tensor) -> tuple[int, int]:
    start = tensor.buffer.address + tensor.offset
    return start, start + tensor.nbytes


class _Shared:
    """Which shared regions hold what while a plan is made (step.py)."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._reads: list[tuple[int, int]] = []
        self._kept: dict[Hashable, list[tuple[int, int]]] = {}
        self.size = 0
        self.kept_size: dict[Hashable, int] = {}

    def holds(self, step: Step) -> bool:
        """Whether the region of the step already has its key."""
        assert step.shared is not None
        key = step.shared[0]
        return key in self._kept if step.keeps else key == self._key

    def make(self, step: Step) -> None:
        """The step fills its region."""
        assert step.shared is not None
        key, size = step.shared
        reads = [_span(t) for t in tensors_of(step)[1:] if t is not None]
        if step.keeps:
            self._kept[key] = reads
            self.kept_size[key] = max(size, self.kept_size.get(key, 0))
        else:
            self._key, self._reads, self.size = key, reads, max(self.size, size)

    def written(self, node: Tensor) -> None:
        """A node has been computed: forget what was made from memory that it overwrites."""
        if self._key is None and not self._kept:
            return
        low, high = _span(node)
        if any(a < high and low < b for a, b in self._reads):
            self._key, self._reads = None, []
        for key in [k for k, r in self._kept.items() if any(a < high and low < b for a, b in r)]:
            del self._kept[key]


def _check_memory(step: Step) -> None:
    """Refuse what only extents without bytes behind them can ask for: rows that are all in one place.

    Raises:
        OutOfDeviceMemory: the step needs far more memory than its tensors have.
    """
    asked = step.scratch + (step.shared[1] if step.shared is not None else 0)
    if asked > SPARE_BYTES:
        spanned = sum(t.nbytes for t in tensors_of(step) if t is not None)
        if asked > SPARE_BYTES + SPARE_FACTOR * spanned:
            raise OutOfDeviceMemory(
                step.node.op,
                "working memory",
                asked,
                f"at most {SPARE_BYTES + SPARE_FACTOR * spanned} bytes",
                context=f"tensors span {spanned} bytes, device CPU",
            )


class _Readers:
    """Who reads a node, counted when first asked for."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._counts: dict[int, int] | None = None

    def count(self, node: Tensor) -> int:
        """Nodes of the graph, views included, that name this one as a source or lie in its memory."""
        if self._counts is None:
            self._counts = {}
            for reader in self._graph.nodes:
                for key in {id(t) for t in (*reader.src, reader.view_src)}:
                    self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts.get(id(node), 0)


def _next_reader(nodes: list[Tensor], i: int, readers: _Readers) -> Tensor | None:
    """The node after i when it alone reads node i, so that nobody misses a result that is never written.

    The client must say so (`use_count`, which tells of readers on other devices too), not ask for the result, and
    not have it written into the memory of another tensor; and what it says is looked up, for it may be wrong.
    """
    node = nodes[i]
    if i + 1 == len(nodes) or node.use_count != 1 or node.flags & FLAG_OUTPUT:
        return None
    after = nodes[i + 1]
    if node.view_src is not None or sum(s is node for s in after.src) != 1:
        return None
    return after if readers.count(node) == 1 else None


def _aligned(size: int) -> np.ndarray:
    """Zeroed bytes that start on a cache line."""
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size]


@dataclass(slots=True, eq=False)
class _Entry:
    """One record to be, or one host stage (step None)."""

    index: int
    node: Tensor
    step: Step | None = None
    stamp: tuple[bytes, list[tuple[int, int, int]]] | None = None


def make_plan(
    graph: Graph, kernels: KernelSource, *, n_threads: int, stamps: Stamps | None = None
) -> Plan:
    """Plan a graph whose tensors are bound to CpuBuffers.

    Args:
        graph: checked by the session.
        kernels: asked for every kernel and row function; those it does not have become host stages.
        n_threads: of the team that will run the plan.
        stamps: records of earlier plans with the same kernels and threads; new ones are added.
    """
    stamps = Stamps() if stamps is None else stamps
    shared = _Shared()
    entries: list[_Entry] = []
    missing: set[str] = set()
    keep: list[Any] = []

    def absent(steps: list[Step]) -> bool:
        names = {name for step in steps for name in (step.kernel, *step.row_functions)}
        found = {name for name in names if kernels.address(name) is None}
        missing.update(found)
        return bool(found)

    def make_row(step: Step, keep: list[Any]) -> bytes:
        return _RECORD.pack(*_row(step, kernels, keep))

    work, readers = graph.work, _Readers(graph)
    skip = False
    for i, node in enumerate(work):
        if skip:
            skip = False
            continue
        if node.op in LAYOUT_ONLY:
            stamp = stamps.get(node, n_threads, absent, make_row)
            if stamp is None:
                entries.append(_Entry(i, node))
            else:
                keep.append(stamp.keep)
                for step, row, places in zip(stamp.steps, stamp.rows, stamp.places):
                    entries.append(_Entry(i, node, step, (row, places)))
            shared.written(node)
            continue
        context = Context(n_threads, next=_next_reader(work, i, readers))
        family = FAMILIES.get(node.op)
        steps = family(node, context) if family is not None else None
        if steps is None or absent(steps):
            entries.append(_Entry(i, node))
            shared.written(node)
            continue
        for step in steps:
            _check_memory(step)
            if step.shared is not None and step.makes_shared:
                if shared.holds(step):
                    continue
                shared.make(step)
            entries.append(_Entry(i, node, step))
        skip = context.fused
        shared.written(work[i + 1] if skip else node)
    return _bind(graph, entries, shared, kernels, keep, frozenset(missing), n_threads)


def _bind(
    graph: Graph,
    entries: list[_Entry],
    shared: _Shared,
    kernels: KernelSource,
    keep: list[Any],
    missing: frozenset[str],
    n_threads: int,
) -> Plan:
    """Give every step a record, and memory."""
    n_records = sum(e.step is not None for e in entries)
    scratch = _aligned(max((e.step.scratch for e in entries if e.step is not None), default=0))
    common = _aligned(shared.size)
    kept = {key: _aligned(size) for key, size in shared.kept_size.items()}
    records = np.zeros((n_records, R.SLOTS), np.int64)
    packed = records.data.cast("B") if n_records else memoryview(bytearray())
    words = packed.cast("q")
    counters = np.zeros((n_records, CACHE_LINE // 8), np.int64)
    error = np.zeros(4, np.int64)
    counter, error_address = counters.ctypes.data, error.ctypes.data
    scratch_address, common_address = scratch.ctypes.data, common.ctypes.data
    keep += [scratch, common, kept]

    stages: list[HostStage | CompiledStage] = []
    last: CompiledStage | None = None
    open_cost, n = 0.0, 0
    for entry in entries:
        step, node = entry.step, entry.node
        if step is None:
            stages.append(HostStage(node))
            last = None
            continue
        at = n * R.SLOTS
        if entry.stamp is None:
            _RECORD.pack_into(packed, n * R.BYTES, *_row(step, kernels, keep))
        else:
            row, places = entry.stamp
            packed[n * R.BYTES : (n + 1) * R.BYTES] = row
            for slot, source, offset in places:
                tensor = node.src[source - 1] if source else node
                words[at + slot] = tensor.buffer.address + tensor.offset + offset  # type: ignore[union-attr]
        solo = step.solo or step.cost < SOLO_COST or n_threads == 1
        words[at + R.NODE] = entry.index
        words[at + R.COUNTER] = counter + n * CACHE_LINE
        words[at + R.SCRATCH] = scratch_address
        words[at + R.SCRATCH_SIZE] = step.scratch
        words[at + R.ERROR] = error_address
        words[at + R.FLAGS] = R.SOLO if solo else 0
        if step.shared is not None:
            words[at + R.SHARED] = (
                kept[step.shared[0]].ctypes.data if step.keeps else common_address
            )
        cost = step.cost if solo else step.cost / n_threads
        if last is not None and open_cost + cost <= SLICE_COST:
            last.last, last.alone = n + 1, last.alone and solo
            open_cost += cost
        else:
            last = CompiledStage(n, n + 1, solo)
            stages.append(last)
            open_cost = cost
        n += 1
    buffers = {t.buffer for node in graph.work for t in (node, *node.src) if t is not None}
    return Plan(graph, stages, records, counters, error, frozenset(buffers), missing, keep)


def _row(step: Step, kernels: KernelSource, keep: list[Any]) -> list[int]:
    """The slots of a record that a step decides alone."""
    row = [0] * R.SLOTS
    row[R.KERNEL] = _ready(kernels, step.kernel)
    params = step.node.op_params if step.op_params is None else step.op_params
    row[R.OP_PARAMS : R.OP_PARAMS + 8] = _PARAM_SLOTS.unpack(_PARAMS.pack(*params))
    for k, tensor in enumerate(tensors_of(step)):
        if tensor is not None:
            at = R.TENSORS + R.TENSOR_SLOTS * k
            start = tensor.buffer.address + tensor.offset
            row[at : at + R.TENSOR_SLOTS] = (start, tensor.type.id, *tensor.ne, *tensor.nb)
    for i, name in enumerate(step.row_functions):
        row[R.ROW_FUNCTION + i] = _ready(kernels, name)
    for i, value in enumerate(step.args):
        if isinstance(value, np.ndarray):
            keep.append(value)
            value = value.ctypes.data
        row[R.ARGS + i] = value
    return row


def _ready(kernels: KernelSource, name: str) -> int:
    address = kernels.address(name)
    assert address is not None, f"{name} was ready a moment ago"
    return address
