"""What a node asks of the planner: one `Step` per record, before anything has an address.

A module of `families/` (no numba there) says with `@steps_of("ADD", "SUB")` which steps compute a node:
`family(node, context) -> list[Step] | None`, None for "no compiled kernel takes this", which makes a host stage.
The kernels that steps name are in `kernels/`. MUL_MAT and MUL_MAT_ID: families/mul_mat.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from ggmlrpc_core.graph.tensor import Tensor


@dataclass(slots=True, eq=False)
class Step:
    """One record.

    Attributes:
        kernel: registered name.
        node: whose index a reported error names.
        tensors: what tensor slots 0..6 hold; default the node and its sources.
        op_params: 16 int32; default those of the node.
        row_functions: registered names, at most two.
        args: at most eight integers; an array stands for its address and lives as long as the plan.
        scratch: bytes of scratch, for this record alone.
        shared: (key, bytes) of the memory that this step makes or reads, None for none. One region is alive at a
            time: it holds what the latest step with `makes_shared` left there.
        makes_shared: this step fills the shared region. The planner leaves such a step out when the region already
            holds that key and nothing has written to the memory of the step's sources since.
        keeps: the shared region is one of its own, alive for the whole run (small tables that every layer
            uses); otherwise there is one such region and the latest key wins.
        cost: estimated nanoseconds on one thread; small steps run on one thread without a barrier.
        solo: always on one thread.
    """

    kernel: str
    node: Tensor
    tensors: tuple[Tensor | None, ...] | None = None
    op_params: tuple[int, ...] | None = None
    row_functions: tuple[str, ...] = ()
    args: tuple[int | np.ndarray, ...] = ()
    scratch: int = 0
    shared: tuple[Hashable, int] | None = None
    makes_shared: bool = False
    keeps: bool = False
    cost: float = 0.0
    solo: bool = False


@dataclass(slots=True)
class Context:
    """What a family may ask while it makes steps.

    Attributes:
        n_threads: of the team.
        next: the node that follows, when it alone reads this node's result; a family that computes both sets `fused`.
        fused: the steps returned compute `next` too.
    """

    n_threads: int
    next: Tensor | None = None
    fused: bool = False


Family = Callable[[Tensor, Context], "list[Step] | None"]

FAMILIES: dict[str, Family] = {}
"""Op name to its family; filled when modules of `families/` are imported."""


LAYOUT_ONLY: set[str] = set()
"""Ops whose steps depend on types, extents, strides and parameters alone, so that they can be used again (stamp.py)."""


def steps_of(*ops: str, layout_only: bool = False) -> Callable[[Family], Family]:
    """Register a family for ops.

    Args:
        ops: canonical names.
        layout_only: the family never looks at where a tensor is, nor at Context.next, and asks for no shared region.
    """

    def register(family: Family) -> Family:
        for op in ops:
            if op in FAMILIES:
                raise ValueError(f"op {op} has two families")
            FAMILIES[op] = family
            if layout_only:
                LAYOUT_ONLY.add(op)
        return family

    return register


def touched(node: Tensor) -> int:
    """Bytes that a simple op reads and writes, for `cost`."""
    return node.nbytes + sum(s.nbytes for s in node.src if s is not None)


NS_PER_BYTE = 0.1
"""Guess for `cost`: one thread moves about 10 bytes per nanosecond."""
