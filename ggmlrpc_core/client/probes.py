"""The search for graphs of one node that tell numberings apart, over the tables of ops. No socket.

A probe is a node with an op number. Every numbering that the server may have must read it as an op that runs on the
operands given, and is on a list of ops that are safe to run; what they make of it must differ. CUSTOM and MAP_CUSTOM*,
whose parameters are addresses of functions, are on no list, nor is any op that a backend was seen to lack.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

import ggmlrpc_core.ops  # noqa: F401  declares every op
from ggmlrpc_core.errors import BadGraph, GgmlRpcError
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build_base import BuilderBase
from ggmlrpc_core.graph.table import TensorTable
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, VIEW_OPS, Tensor
from ggmlrpc_core.ops.run import run_node
from ggmlrpc_core.ops.validate import check_nodes
from ggmlrpc_core.wire.dialects import Dialect
from ggmlrpc_core.wire.tensors import tensor_dtype
from ggmlrpc_core.wire.translate import translation

UNTOUCHED = -77.25
"""What the result holds before: an op that computes nothing leaves it."""

_SIDE = 32  # extents that every backend's kernels take
_TOLERANCE = 0.02  # of the largest value: backends compute in F16 or from tables

ANYWHERE = VIEW_OPS - {"NONE"} | {
    "DUP", "ADD", "MUL", "DIV", "SQR", "SCALE", "NORM", "RMS_NORM", "GROUP_NORM", "SOFT_MAX", "DIAG_MASK_INF",
    "CONT", "REPEAT", "MUL_MAT", "LEAKY_RELU", "PAD", "UPSCALE", "UNARY",
}  # fmt: skip
"""Ops of F32 that every backend of the stock server is made to run; not tried on a GPU."""

_ON_CPU_OF_ONE = {
    "SIN", "COS", "CUMSUM", "REPEAT_BACK", "L2_NORM", "DIAG_MASK_ZERO", "ROLL", "TRI", "FILL",
}  # fmt: skip
_ON_CPU_OF_TWO = {"SUB", "OUT_PROD"}
_OF_TWO = {"ADD", "MUL", "DIV", "MUL_MAT"} | _ON_CPU_OF_TWO

ON_CPU = ANYWHERE | _ON_CPU_OF_ONE | _ON_CPU_OF_TWO | {
    "PAD_REFLECT_1D", "ARANGE", "TIMESTEP_EMBEDDING", "OPT_STEP_SGD", "GLU",
}  # fmt: skip
"""Ops of F32 that its CPU backend runs."""

FUNCTIONS_ANYWHERE = frozenset({"GELU", "SILU", "RELU", "TANH", "SIGMOID", "GELU_QUICK"})
"""Unary functions that every backend runs; the CPU runs all."""


def bits(value: float) -> int:
    """The int32 that holds a float."""
    return struct.unpack("<i", struct.pack("<f", value))[0]


@dataclass(frozen=True, slots=True)
class Operands:
    """Shapes of F32 that a probe is made of, ne[0] first.

    Attributes:
        name: for people.
        sources: extents of each source.
        result: extents of the node.
        params: the first op_params; others are 0.
        ops: those that run on them, in every version that has the op; seen on servers of ten ages.
        functions: try every function number in slot 0 instead where the op is UNARY to somebody.
        in_place: the node lies over source 0, as those of optimizers do, which write there and nowhere else.
    """

    name: str
    sources: tuple[tuple[int, ...], ...]
    result: tuple[int, ...]
    params: tuple[int, ...]
    ops: frozenset[str]
    functions: bool = False
    in_place: bool = False

    def values(self, slot: int) -> np.ndarray:
        """What a source holds, in NumPy order: both signs, no two alike, nothing near zero."""
        ne = self.sources[slot]
        n = int(np.prod(ne))
        steps = (np.arange(n) * 37 + 11 * slot) % 101 / 40.0 + 0.3
        signs = np.where((np.arange(n) * 7 + slot) % 3 == 0, -1.0, 1.0)
        return (steps * signs).astype(np.float32).reshape(tuple(reversed(ne)))


_SQUARE = (_SIDE, _SIDE)
_OF_ONE = frozenset((ANYWHERE - _OF_TWO) | _ON_CPU_OF_ONE)

OPERANDS = (
    Operands("one", (_SQUARE,), _SQUARE, (1,), _OF_ONE, functions=True),
    Operands("half", (_SQUARE,), _SQUARE, (bits(0.5),), _OF_ONE - {"GROUP_NORM", "UNARY"}),
    Operands("two", (_SQUARE, _SQUARE), _SQUARE, (1,), (_OF_ONE - {"UNARY"}) | _OF_TWO),
    Operands(
        "wider", (_SQUARE,), (_SIDE + _SIDE // 2, _SIDE), (0, _SIDE // 2),
        frozenset({"PAD", "PAD_REFLECT_1D", "UPSCALE"}),
    ),
    Operands(
        "count", ((_SIDE,),), (_SIDE,), (0, bits(_SIDE), bits(1.0)), frozenset({"ARANGE", "UPSCALE"})
    ),
    Operands(
        "step", (_SQUARE, _SQUARE, (2,)), _SQUARE, (0,), frozenset({"GLU", "OPT_STEP_SGD"}), in_place=True
    ),
    Operands(
        "embed", ((1,),), (_SIDE,), (_SIDE, bits(_SIDE), bits(1.0)), frozenset({"ARANGE", "TIMESTEP_EMBEDDING"})
    ),
)  # fmt: skip
"""What the search combines op numbers with."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A node with an op number.

    Attributes:
        number: as it is sent.
        params: the first op_params as they are sent; others are 0.
        operands: shapes and values.
    """

    number: int
    params: tuple[int, ...]
    operands: Operands

    def message(self, dialect: Dialect, places: Sequence[int], handle: int) -> np.ndarray:
        """The tensor list of GRAPH_COMPUTE; the node has id 1.

        Args:
            places: address of the result, which is not used in place, then of each source.
            handle: of the buffer that holds them.
        """
        operands = self.operands
        array = np.zeros(1 + len(operands.sources), tensor_dtype(dialect))
        array["id"] = np.arange(1, len(array) + 1)
        array["type"] = TYPES["F32"].id
        array["buffer"] = handle
        array["data"] = np.array(places[: len(array)], np.uint64)
        if operands.in_place:
            array["data"][0] = array["data"][1]
        for row, ne in enumerate((operands.result, *operands.sources)):
            full = [*ne, 1, 1, 1][:4]
            array["ne"][row] = full
            array["nb"][row] = [4, 4 * full[0], 4 * full[0] * full[1], 4 * full[0] * full[1]]
        array["op"][0] = self.number
        array["op_params"][0, : len(self.params)] = self.params
        array["src"][0, : len(operands.sources)] = array["id"][1:]
        array["flags"][0] = FLAG_COMPUTE
        return array


@dataclass(frozen=True, slots=True)
class Split:
    """A probe, and what the numberings make of it.

    Attributes:
        groups: states that cannot be told apart by it, each with the op it is to them and the result.
    """

    probe: Probe
    groups: tuple[tuple[tuple[Dialect, ...], str, np.ndarray], ...]

    def fitting(self, result: np.ndarray) -> tuple[Dialect, ...]:
        """The states whose op gives a result; none when no op of them does."""
        for states, _, expected in self.groups:
            if equal(result, expected):
                return states
        return ()


@cache
def best_split(candidates: tuple[Dialect, ...], safe: frozenset[str]) -> Split | None:
    """The probe that tells most states apart; None when none tells any two.

    Args:
        candidates: states that the server may be of.
        safe: names of ops that may run.
    """
    best: Split | None = None
    for probe in _probes(candidates, safe):
        split = _split(probe, candidates, safe)
        if split is not None and (best is None or _worth(split) > _worth(best)):
            best = split
            if len(best.groups) == len(candidates):
                break
    return best


def reading(probe: Probe, dialect: Dialect, safe: frozenset[str]) -> tuple[str, np.ndarray] | None:
    """What a state makes of a probe: name of the op, with the function of UNARY, and the result in order of memory.

    None when it must not run there: no op of the list, or not on these operands.
    """
    columns_of = translation(dialect)
    message = probe.message(dialect, [0] * 4, 0)
    try:
        columns = columns_of.columns(message)
    except BadGraph:
        return None
    name = _newest_names().get(int(columns.op[0]), "")
    params = tuple(columns.op_params[0].tolist())
    if name not in safe & probe.operands.ops or not _function_is_safe(name, params[0], safe):
        return None
    order = [int(i) - 2 for i in columns.src[0, : len(probe.operands.sources)].tolist()]
    result = _result(name, params, probe.operands, tuple(order))
    if result is None:
        return None
    return (f"UNARY {_unary_names()[params[0]]}" if name == "UNARY" else name), result


def equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two results are those of the same op."""
    finite = np.isfinite(other)
    if not (np.isfinite(one) == finite).all():
        return False
    scale = np.abs(other[finite]).max(initial=0.0)
    apart = np.abs(one[finite] - other[finite]).max(initial=0.0)
    return bool(apart <= _TOLERANCE * max(scale, 1e-3))


def op_of(dialect: Dialect, number: int) -> str:
    """The name of an op number in a state; "" when it has none."""
    return _names(dialect).get(number, "")


def forbidden(name: str) -> bool:
    """Whether an op takes addresses of functions from its parameters."""
    return name == "CUSTOM" or name.startswith("MAP_")


# --- inside


def _worth(split: Split) -> tuple[int, int]:
    return len(split.groups), -max(len(states) for states, _, _ in split.groups)


def _probes(candidates: Sequence[Dialect], safe: frozenset[str]) -> Iterator[Probe]:
    highest = max(max(one.numbering.ops.values()) for one in candidates)
    for number in range(1, highest + 1):
        names = {op_of(one, number) for one in candidates}
        if not names <= safe or (len(names) == 1 and "UNARY" not in names):
            continue
        functions = max(len(one.numbering.unary) for one in candidates) if "UNARY" in names else 0
        for operands in OPERANDS:
            if not names <= operands.ops:
                continue
            if functions and operands.functions:
                for function in range(functions):
                    yield Probe(number, (function,), operands)
            else:
                yield Probe(number, operands.params, operands)


def _split(probe: Probe, candidates: Sequence[Dialect], safe: frozenset[str]) -> Split | None:
    groups: list[tuple[list[Dialect], str, np.ndarray]] = []
    seen: dict[object, tuple[str, np.ndarray] | None] = {}
    for one in candidates:
        key = _alike(one, probe.number)
        if key not in seen:
            seen[key] = reading(probe, one, safe)
        read = seen[key]
        if read is None:
            return None
        name, result = read
        for states, _, expected in groups:
            if equal(result, expected):
                states.append(one)
                break
        else:
            groups.append(([one], name, result))
    if len(groups) < 2 or not _well_apart([result for _, _, result in groups]):
        return None
    return Split(probe, tuple((tuple(states), name, r) for states, name, r in groups))


def _alike(dialect: Dialect, number: int) -> object:
    """What decides how a state reads a probe of a number: the op, its functions and its older forms."""
    name = op_of(dialect, number)
    functions = id(dialect.numbering.unary) if name == "UNARY" else 0
    return name, functions, tuple(m for m in translation(dialect).meanings if m.op == name)


def _well_apart(results: Sequence[np.ndarray]) -> bool:
    """Whether no result could pass for two of them: they differ by several tolerances."""
    for at, one in enumerate(results):
        for other in results[:at]:
            if not (np.isfinite(one) == np.isfinite(other)).all():
                continue
            finite = np.isfinite(one)
            scale = max(
                np.abs(one[finite]).max(initial=0.0), np.abs(other[finite]).max(initial=0.0)
            )
            if np.abs(one[finite] - other[finite]).max(initial=0.0) < 5 * _TOLERANCE * scale:
                return False
    return True


def _function_is_safe(name: str, function: int, safe: frozenset[str]) -> bool:
    if name != "UNARY":
        return True
    known = _unary_names().get(function)
    return known is not None and (safe != ANYWHERE or known in FUNCTIONS_ANYWHERE)


@cache
def _result(
    name: str, params: tuple[int, ...], operands: Operands, order: tuple[int, ...]
) -> np.ndarray | None:
    """What the reference op makes of the operands; None when they do not fit it."""
    memory: dict[int, np.ndarray] = {}
    builder = BuilderBase()
    made = []
    for slot, ne in enumerate(operands.sources):
        made.append(builder.node("NONE", "F32", ne))
        memory[made[-1].id] = operands.values(slot).reshape(made[-1].shape)
    sources = [made[at] if 0 <= at < len(made) else None for at in order]
    node = builder.node(name, "F32", operands.result, src=sources)
    node.op_params = params
    blank = np.full(node.shape, UNTOUCHED, np.float32)
    memory[node.id] = memory[made[0].id] if operands.in_place else blank
    if name not in VIEW_OPS:
        try:
            check_nodes(TensorTable.from_tensors([*made, node]), np.array([len(made)]))
            run_node(np, node, lambda t: _memory_of(t, memory))
        except GgmlRpcError:
            return None
    return memory[node.id].reshape(-1)


def _memory_of(tensor: Tensor, memory: dict[int, np.ndarray]) -> np.ndarray:
    return memory[tensor.id]


@cache
def _names(dialect: Dialect) -> dict[int, str]:
    return {number: name for name, number in dialect.numbering.ops.items()}


@cache
def _newest_names() -> dict[int, str]:
    return {number: name for name, number in NEWEST.ops.items()}


@cache
def _unary_names() -> dict[int, str]:
    return {number: name for name, number in NEWEST.unary.items()}
