"""Records used again: nodes of equal layout differ only in addresses, and a model has few kinds of them.

A stamp is made from stand-ins that are nowhere (address 0, identity = tensor slot), so what the family makes of
them says for each tensor of the record which source it is part of, and at which offset.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_cpu import record as R
from ggmlrpc_cpu.step import FAMILIES, Context, Step

MAX_STAMPS = 4096
"""Kept at most; then all are forgotten."""


class _Nowhere:
    """The buffer of stand-ins."""

    address = 0


@dataclass(slots=True, eq=False)
class Stamp:
    """The records of a node without addresses.

    Attributes:
        steps: what was asked for, over stand-ins.
        rows: 768 bytes each, for the steps.
        places: for each step, (slot of an address, tensor: 0 the node, 1 + s source s, bytes from its start).
        keep: arrays that rows point to.
    """

    steps: list[Step]
    rows: list[bytes]
    places: list[list[tuple[int, int, int]]]
    keep: list[Any]


def signature(node: Tensor) -> Hashable:
    """All that a family which looks at the layout alone can see."""
    return (
        node.op,
        node.op_params,
        node.type.id,
        node.ne,
        node.nb,
        *[None if s is None else (s.type.id, s.ne, s.nb) for s in node.src],
    )


def stand_in(node: Tensor) -> Tensor:
    """The node with sources of its own, nowhere; ids are tensor slots."""
    nowhere = _Nowhere()

    def copy(t: Tensor, slot: int, src: tuple[Tensor | None, ...] = ()) -> Tensor:
        return Tensor(slot, t.type, t.ne, t.nb, t.op, t.op_params, src=src, buffer=nowhere)

    sources = tuple(None if s is None else copy(s, 1 + k) for k, s in enumerate(node.src))
    return copy(node, 0, sources)


class Stamps:
    """Stamps by signature. Only for kernels that are ready, whose addresses do not change."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Stamp | None] = {}

    def get(
        self,
        node: Tensor,
        n_threads: int,
        absent: Callable[[list[Step]], bool],
        make_row: Callable[[Step, list[Any]], bytes],
    ) -> Stamp | None:
        """The stamp of a node.

        Args:
            node: of an op in LAYOUT_ONLY.
            n_threads: of the team.
            absent: whether a kernel of steps is not ready; the stamp is not kept then.
            make_row: the record of a step, and what it keeps alive.

        Returns:
            None when the node is for a host stage.
        """
        key = signature(node)
        if key in self._known:
            return self._known[key]
        steps = FAMILIES[node.op](stand_in(node), Context(n_threads))
        if steps is not None and absent(steps):
            return None
        made = None
        if steps is not None:
            keep: list[Any] = []
            rows = [make_row(step, keep) for step in steps]
            made = Stamp(steps, rows, [_places(step) for step in steps], keep)
        if len(self._known) >= MAX_STAMPS:
            self._known.clear()
        self._known[key] = made
        return made


def tensors_of(step: Step) -> tuple[Tensor | None, ...]:
    """What the tensor slots of a step hold."""
    if step.tensors is not None:
        return step.tensors
    return (step.node, *step.node.src)[: R.N_TENSORS]


def _places(step: Step) -> list[tuple[int, int, int]]:
    return [
        (R.TENSORS + R.TENSOR_SLOTS * k, tensor.id, tensor.offset)
        for k, tensor in enumerate(tensors_of(step))
        if tensor is not None
    ]
