"""How an op is declared: one decorator that states sources, types, parameters, shape rule and arithmetic.

The same declaration validates graphs, answers what is supported, runs the op on any array library and makes
the reference page. An op's function is pure: it takes raw arrays (graph/views.py) and named parameters and
returns a value for the store.

    @op("RMS_NORM", sources=[source("a", "F32")], result="F32", params=[f32(0, "eps")], check=same_shape,
        precision="squares in f32, summed in f64", since="2024-05-14",
        upstream="ggml-cpu/ops.cpp ggml_compute_forward_rms_norm_f32")
    def rms_norm(xp, node, x, *, eps): ...

What a function may return:
- an array of `node.shape`: floats or integers of any dtype, encoded to the node's type by the store; or an
  array that is already the raw form of the node's type (uint8 rows of a quantized type, uint16 of BF16);
- `RowUpdate(rows, values)`: write some rows of the node's memory and leave the others (SET_ROWS);
- `Leading(values)`: write the first elements of the node and leave the others (SSM_SCAN with unused slots);
- `Updates({0: value, 2: value})`: also write sources in place (optimizer steps); key -1 is the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any] | None)

FLOATS = ("F32", "F16", "BF16")
QUANTS = tuple(t.name for t in TYPES.values() if t.quantized and t.name not in ("Q8_1", "Q8_K"))
"""Every quantized type that can be a weight (25 at 7.0.0)."""
ENCODABLE = tuple(t.name for t in TYPES.values() if t.name in QUANTS and t.from_f32)
"""Quantized types that values can be converted into."""
ANY = tuple(TYPES)


@dataclass(frozen=True, slots=True)
class Source:
    """One source slot: its name in the docs and the types it takes."""

    name: str
    types: frozenset[str]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Param:
    """One named parameter: the slot in op_params and how to read it."""

    name: str
    slot: int
    kind: Literal["i32", "f32"]

    def read(self, node: Tensor) -> int | float:
        """The value in a node."""
        return node.i32(self.slot) if self.kind == "i32" else node.f32(self.slot)


@dataclass(frozen=True, slots=True)
class Ids:
    """A source whose numbers are used as indices; they are known only when the node runs.

    Attributes:
        slot: the source that holds them.
        limit: for a node, every id must be in [0, limit).
    """

    slot: int
    limit: Callable[[Tensor], int]


@dataclass(frozen=True, slots=True)
class Op:
    """The declaration of one op.

    Attributes:
        name: canonical name.
        sources: slots in order.
        result: types that the node may have; None for "the type of source 0".
        params: named parameters.
        check: shape rule over all nodes of the op; raises BadGraph.
        ids: the source that holds indices, None for most ops; whoever runs the op checks their range first.
        compute: the arithmetic, `compute(xp, node, *raw_arrays, **params)`; None when it is never run (views) or
            always refused (function pointers).
        precision: what is computed in which type, and the bound that devices are held to.
        since: first date of the op in the protocol.
        upstream: file and function that it obeys.
    """

    name: str
    sources: tuple[Source, ...]
    result: frozenset[str] | None
    params: tuple[Param, ...]
    check: Callable[[Nodes], None] | None
    ids: Ids | None
    compute: Callable[..., Any] | None
    precision: str
    since: str
    upstream: str

    @property
    def n_required(self) -> int:
        """How many sources must be there."""
        return sum(not s.optional for s in self.sources)


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """Write rows of the node's memory.

    Attributes:
        rows: int64 [n3, n2, r]: for values[i3, i2, j] the row (dimension 1) of slice (i3, i2) to write.
        values: [n3, n2, r, n] floats, encoded by the store.
    """

    rows: Any
    values: Any


@dataclass(frozen=True, slots=True)
class Leading:
    """Write the first elements of a node that is a vector.

    Attributes:
        values: [n] floats, n at most node.ne[0]; encoded by the store.
    """

    values: Any


@dataclass(frozen=True, slots=True)
class Updates:
    """Write several tensors: slot number of the source to its new value, -1 for the node itself."""

    values: Mapping[int, Any]


OPS: dict[str, Op] = {}
"""Every declared op by name; filled when ggmlrpc_core.ops is imported."""


def source(name: str, *types: str, optional: bool = False) -> Source:
    """A source slot that takes these types."""
    return Source(name, frozenset(types), optional)


def i32(slot: int, name: str) -> Param:
    """An integer parameter."""
    return Param(name, slot, "i32")


def f32(slot: int, name: str) -> Param:
    """A float parameter, stored bit for bit."""
    return Param(name, slot, "f32")


def op(
    name: str,
    *,
    sources: Sequence[Source],
    result: str | Sequence[str] | None,
    params: Sequence[Param] = (),
    check: Callable[[Nodes], None] | None = None,
    ids: Ids | None = None,
    precision: str,
    since: str,
    upstream: str,
) -> Callable[[F], F]:
    """Declare an op; the decorated function is its arithmetic. Refuses a second declaration.

    Several declarations may share one function. `op(...)(None)` declares an op that is never computed.
    """

    def declare(function: F) -> F:
        if name in OPS:
            raise ValueError(f"op {name} is declared twice")
        OPS[name] = Op(
            name=name,
            sources=tuple(sources),
            result=None
            if result is None
            else frozenset([result] if isinstance(result, str) else result),
            params=tuple(params),
            check=check,
            ids=ids,
            compute=function,
            precision=precision,
            since=since,
            upstream=upstream,
        )
        return function

    return declare
