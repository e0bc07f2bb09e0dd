"""The heat map: ops by types."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ggmlrpc_conformance.report.baseline import Known
from ggmlrpc_conformance.report.tally import worst
from ggmlrpc_conformance.results import CaseResult, Verdict
from ggmlrpc_core.ggml.types import TYPES

GROUPS = (
    ("elementwise", ("UNARY/", "GLU/", "ADD", "SUB", "MUL", "DIV", "SQR", "SQRT", "LOG", "SIN", "COS", "SCALE",
                     "CLAMP", "LEAKY_RELU", "ACC", "ADD1", "ADD_ID", "SILU_BACK", "FILL")),
    ("copy and shape", ("DUP", "CPY", "CONT", "SET", "GET_ROWS", "GET_ROWS_BACK", "SET_ROWS", "CONCAT", "REPEAT",
                        "REPEAT_BACK", "PAD", "PAD_REFLECT_1D", "ROLL", "DIAG", "TRI", "ARANGE",
                        "TIMESTEP_EMBEDDING", "UPSCALE")),
    ("norms and sums", ("NORM", "RMS_NORM", "RMS_NORM_BACK", "GROUP_NORM", "L2_NORM", "SUM", "SUM_ROWS", "MEAN",
                        "CUMSUM", "ARGMAX", "ARGSORT", "TOP_K", "COUNT_EQUAL")),
    ("matrices", ("MUL_MAT", "MUL_MAT_ID", "OUT_PROD", "SOLVE_TRI")),
    ("attention", ("SOFT_MAX", "SOFT_MAX_BACK", "DIAG_MASK_INF", "DIAG_MASK_ZERO", "ROPE", "ROPE_BACK",
                   "FLASH_ATTN_EXT", "FLASH_ATTN_BACK", "LIGHTNING_INDEXER", "GET_REL_POS", "ADD_REL_POS",
                   "WIN_PART", "WIN_UNPART")),
    ("convolutions", ("CONV_", "IM2COL", "COL2IM", "POOL_")),
    ("recurrent", ("SSM_", "RWKV_", "GATED_", "DSV4_")),
    ("training", ("CROSS_ENTROPY", "OPT_STEP")),
)  # fmt: skip

NOTHING: Mapping[str, Known] = MappingProxyType({})

STEPS = 5
"""Shades of a passing cell."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One op on one tuple of types.

    Attributes:
        verdict: the worst of its cases.
        passed, total: of the cases that were judged.
        share: error of the worst case over its interop limit; None when nothing was compared.
        worst_id: that case.
        results: all of them.
        stock: the worst verdict of the same cases on the stock server; None where it is not known.
    """

    op: str
    types: str
    verdict: Verdict
    passed: int
    total: int
    share: float | None
    worst_id: str
    results: tuple[CaseResult, ...]
    stock: Verdict | None = None

    @property
    def shade(self) -> int:
        """0 for an error below a ten-thousandth of the limit, STEPS - 1 for one near it."""
        if self.share is None or not self.share > 0:
            return 0
        if not math.isfinite(self.share):
            return STEPS - 1
        return max(0, min(STEPS - 1, STEPS + math.floor(math.log10(self.share))))


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Ops by first type.

    Attributes:
        types: columns, in ggml's order.
        groups: name, and its rows: op to cells by column.
    """

    types: list[str]
    groups: list[tuple[str, list[tuple[str, dict[str, list[Cell]]]]]]
    cells: list[Cell]

    @property
    def good(self) -> int:
        """Cells whose every case passed."""
        return sum(c.verdict.good for c in self.cells)


def share_of(result: CaseResult) -> float | None:
    """Error over the interop limit; infinite where the limit is 0 and the error is not, or nothing is finite."""
    accuracy = result.accuracy
    if accuracy is None:
        return None
    if not math.isfinite(accuracy.nmse):
        return math.inf
    if accuracy.interop <= 0:
        return 0.0 if accuracy.nmse == 0 else math.inf
    return accuracy.nmse / accuracy.interop


def heat_map(results: Iterable[CaseResult], known: Mapping[str, Known] = NOTHING) -> HeatMap:
    """Cells of all op cases, beside what the stock server did with them."""
    found: dict[tuple[str, str], list[CaseResult]] = {}
    for result in results:
        if result.op and result.verdict is not Verdict.SKIP:
            found.setdefault((result.op, result.types), []).append(result)
    cells = [_cell(op, types, inside, known) for (op, types), inside in found.items()]
    fields: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        fields.setdefault((cell.op, _first(cell.types)), []).append(cell)
    columns = sorted({column for _, column in fields}, key=_type_order)
    by_group: dict[str, list[str]] = {}
    for op in sorted({op for op, _ in fields}):
        by_group.setdefault(group_of(op), []).append(op)
    groups = [
        (name, [(op, {c: fields.get((op, c), []) for c in columns}) for op in by_group[name]])
        for name in [*(name for name, _ in GROUPS), "other"]
        if name in by_group
    ]
    return HeatMap(columns, groups, cells)


def group_of(op: str) -> str:
    """Name of an op's group."""
    for name, members in GROUPS:
        if op in members or any(op.startswith(m) for m in members if m.endswith(("/", "_"))):
            return name
        if name in ("convolutions", "training") and op.startswith(members):
            return name
    return "other"


def _cell(op: str, types: str, results: list[CaseResult], known: Mapping[str, Known]) -> Cell:
    stock = [known[r.full_id].verdict for r in results if r.full_id in known]
    judged = [r for r in results if r.verdict.judged]
    shares = [(s, r) for r in results if (s := share_of(r)) is not None]
    share, at = max(shares, key=lambda pair: pair[0]) if shares else (None, None)
    verdict = worst(results)
    culprit = max(results, key=lambda r: r.verdict.severity)
    return Cell(
        op=op,
        types=types,
        verdict=verdict,
        passed=sum(r.verdict.good for r in judged),
        total=len(judged),
        share=share,
        worst_id=(culprit if at is None or not verdict.good else at).full_id,
        results=tuple(results),
        stock=max(stock, key=lambda v: v.severity, default=None),
    )


_PLACE = {name: place for place, name in enumerate(TYPES)}


def _first(types: str) -> str:
    return (types.split() or ["F32"])[0]


def _type_order(name: str) -> tuple[int, int, str]:
    """Floats, integers, then quantized types, each in ggml's order."""
    known = TYPES.get(name)
    if known is None:
        return 3, 0, name
    kind = 2 if known.quantized else 1 if re.fullmatch(r"I\d+", name) else 0
    return kind, _PLACE[name], name
