"""The device: an Apple GPU, or MLX's CPU backend. Every call comes on one thread, which owns MLX."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict

import psutil

import ggmlrpc_core.ops  # noqa: F401  declares every op
from ggmlrpc_core.errors import OutOfDeviceMemory, UnsupportedOp
from ggmlrpc_core.graph.tensor import Graph, Tensor
from ggmlrpc_core.ops.declare import OPS
from ggmlrpc_metal.buffer import MetalBuffer
from ggmlrpc_metal.corrections import corrections
from ggmlrpc_metal.discover import CPU_BACKEND, METAL, describe
from ggmlrpc_metal.executable import MetalExecutable
from ggmlrpc_metal.library import choose_backend, load_mlx
from ggmlrpc_metal.override import find_override
from ggmlrpc_metal.overrides import ALL
from ggmlrpc_metal.place import host_reason
from ggmlrpc_metal.plan import HostStage, Planner, host_nodes
from ggmlrpc_metal.root import Root

log = logging.getLogger("ggmlrpc.metal")

ALIGNMENT = 128
LARGEST = 8 << 30
"""Most bytes of one buffer: an MLX array has fewer than 2^31 elements of 8 bytes."""
CACHE_SHARE, LEAST_CACHE = 8, 32 << 20
"""Freed memory that MLX may keep for the next results: a part of what clients have, and bytes that it always may."""
MAX_PLANS = 16
"""Prepared graphs that are kept; a client alternates between few."""
MAX_PLANNED = 262_144
"""Nodes of the prepared graphs that are kept: one of any size, or as many small ones as MAX_PLANS."""


class MetalDevice:
    """Device of MLX; see ggmlrpc_core.device.Device.

    Args:
        gpu: the Apple GPU; else MLX's CPU backend.

    Raises:
        PluginError: MLX is missing, cannot be loaded, or has no such backend.
    """

    alignment = ALIGNMENT
    host_memory = False

    def __init__(self, *, gpu: bool) -> None:
        self._mx = load_mlx()
        choose_backend(self._mx, gpu=gpu)
        self._gpu = gpu
        self._forms = (*ALL, *corrections(self._mx))
        self.accelerator = gpu
        self.name = METAL if gpu else CPU_BACKEND
        facts = self._mx.device_info() if gpu else {}
        self.description = facts.get("device_name") or describe(self.name)
        self._total = facts.get("max_recommended_working_set_size", 0)
        self.max_size = min(LARGEST, facts.get("max_buffer_length", LARGEST))
        self._roots = self._unseen = (
            0  # bytes of live buffers, and of those that MLX does not count
        )
        self._told_unwrapped = False
        self._told: set[tuple[str, str]] = set()
        self._plans: OrderedDict[bytes, MetalExecutable] = OrderedDict()
        self._alive: weakref.WeakSet[MetalExecutable] = weakref.WeakSet()
        self._limit_cache()

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes: of what Metal recommends to use at most, or of the host's memory."""
        if not self._gpu:
            found = psutil.virtual_memory()
            return int(found.available), int(found.total)
        used = self._unseen + self._mx.get_active_memory()
        return max(self._total - used, 0), self._total

    def alloc(self, size: int) -> MetalBuffer:
        """A zeroed buffer; OutOfDeviceMemory when it does not fit."""
        free, _ = self.memory()
        if size > min(free, self.max_size):
            raise OutOfDeviceMemory(
                "alloc",
                "size",
                size,
                f"at most {min(free, self.max_size)} bytes",
                context=self.name,
            )
        root = Root(self._mx, size, gpu=self._gpu)
        if self._gpu and not root.wrapped and not self._told_unwrapped:
            self._told_unwrapped = True
            log.info(
                "%s: MLX takes no pages of the system, so buffers take their size at once",
                self.name,
            )
        buffer = MetalBuffer(root, size, self._forget)
        self._account(root, size)
        return buffer

    def alloc_size(self, tensor: Tensor, srcs: list[Tensor | None]) -> int:
        """Just the tensor's bytes."""
        return tensor.nbytes

    def supports(self, node: Tensor) -> bool:
        """Whether the node is traced; every other op of the table is a host stage."""
        op = OPS.get(node.op)
        if op is None or op.compute is None:
            return False
        form = find_override(self._forms, node, gpu=self._gpu)
        return not host_reason(node, form, gpu=self._gpu)

    def prepare(self, graph: Graph) -> MetalExecutable:
        """The plan of a graph, from the last few when its key is known.

        Raises:
            UnsupportedOp: a node that no reference op computes.
        """
        known = self._plans.get(graph.key) if graph.key else None
        if known is not None:
            self._plans.move_to_end(graph.key)
            return known
        for node in graph.work:
            op = OPS.get(node.op)
            if op is None or op.compute is None:
                raise UnsupportedOp(
                    node.op,
                    "op",
                    node.op,
                    "one that can be computed",
                    context=f"device {self.name}",
                )
        planner = Planner(graph, self._forms, gpu=self._gpu)
        buffers = {t.buffer for node in graph.work for t in (node, *node.src) if t is not None}
        made = MetalExecutable(
            self._mx,
            planner,
            n_nodes=len(graph.nodes),
            buffers=frozenset(buffers),
            tell=self._tell,
        )
        self._alive.add(made)
        if graph.key:
            self._plans[graph.key] = made
            planned = sum(one.n_nodes for one in self._plans.values())
            while len(self._plans) > MAX_PLANS or (len(self._plans) > 1 and planned > MAX_PLANNED):
                planned -= self._plans.popitem(last=False)[1].n_nodes
        return made

    def synchronize(self) -> None:
        """Nothing to wait for: `run` returns when its work is done."""

    def close(self) -> None:
        """Drop every plan, and give MLX's spare memory back."""
        for made in list(self._alive):
            made.drop()
        self._plans.clear()
        self._mx.clear_cache()

    def _account(self, root: Root, change: int) -> None:
        self._roots += change
        self._unseen += change * root.wrapped
        self._limit_cache()

    def _limit_cache(self) -> None:
        self._mx.set_cache_limit(max(self._roots // CACHE_SHARE, LEAST_CACHE))

    def _tell(self, stages: list[HostStage]) -> None:
        """One line for each op and reason that becomes a host stage for the first time."""
        for (op, reason), count in host_nodes(stages).items():
            if (op, reason) not in self._told:
                self._told.add((op, reason))
                log.info(
                    "%s: %s runs on the host: %s [%d nodes of a graph]",
                    self.name,
                    op,
                    reason,
                    count,
                )

    def _forget(self, buffer: MetalBuffer) -> None:
        self._account(buffer.root, -buffer.size)
        for key in [key for key, made in self._plans.items() if buffer in made.buffers]:
            del self._plans[key]
        # A session may hold a plan that is not among the last few; it must not run either.
        for made in list(self._alive):
            if buffer in made.buffers:
                made.drop()
