"""Op cases as conformance cases: id, cell and body for each case of ggmlrpc_core.testing, and for other cells.

The bytes of the inputs come from the name of a case. Expected values are those of the reference ops on NumPy, or of
another server (--reference).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib import resources

from ggmlrpc_conformance.case import Case, Tier
from ggmlrpc_conformance.ops.cells import cell_cases
from ggmlrpc_conformance.ops.run import run_op_case
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.tensor import VIEW_OPS, Tensor
from ggmlrpc_core.testing.cases import all_cases as core_cases
from ggmlrpc_core.testing.inputs import EXACT
from ggmlrpc_core.testing.inputs import Case as OpCase

CLAUSES = ("OP-3", "OP-1", "OP-2", "OP-4", "OP-7", "OP-8", "OP-9", "OP-10")
EXACT_CLAUSES = ("OP-5", "OP-1", "OP-2", "OP-7")
CHOSEN_CLAUSES = ("OP-6", "OP-1", "OP-2", "OP-7")


@cache
def limits() -> tuple[float, Mapping[str, float]]:
    """The interop limit of ops without their own, and those of the others."""
    entry = resources.files(__package__).joinpath("limits.toml")
    data = tomllib.loads(entry.read_text(encoding="utf-8"))
    return float(data["default"]), data["op"]


def interop_limit(case: OpCase) -> float:
    """The nmse that decides between pass and fail."""
    if case.nmse == EXACT:
        return EXACT
    default, by_op = limits()
    return max(case.nmse, by_op.get(case.op, default))


def op_cases() -> Iterator[Case]:
    """All of them; the first of each cell is in the smoke tier."""
    seen: set[tuple[str, str]] = set()
    for case in (*core_cases().values(), *cell_cases()):
        op, types = _cell(case)
        tier = Tier.DEFAULT if (op, types) in seen else Tier.SMOKE
        seen.add((op, types))
        clauses = CLAUSES
        if case.compare == "sorted" or op == "ARGSORT":
            clauses = CHOSEN_CLAUSES
        elif case.nmse == EXACT:
            clauses = EXACT_CLAUSES
        if _masked(case):
            clauses = (*clauses, "OP-17")
        graph = case.op == "GRAPH"
        yield Case(
            id=f"{'graph.model' if graph else 'op'}.{_slug(case.name.removeprefix('GRAPH/'))}",
            title=f"{case.name}, against the reference",
            clauses=("GRAPH-1", *clauses) if graph else clauses,
            body=partial(run_op_case, op_case=case, interop=interop_limit(case)),
            tier=tier,
            timeout="op",
            each_device=True,
            op="" if graph else op,
            types="" if graph else types,
        )


def _masked(case: OpCase) -> bool:
    """Whether it hides positions with a mask of -inf."""
    if case.op not in ("SOFT_MAX", "FLASH_ATTN_EXT"):
        return False
    _, outputs = case.make()
    return len([s for s in outputs[-1].src if s is not None]) > (1 if case.op == "SOFT_MAX" else 3)


def _slug(name: str) -> str:
    """`MUL_MAT/Q4_0 k=256 m=16 n=1` to `mul_mat.q4_0-k256-m16-n1`: lower case, and nothing that a shell reads."""
    op, _, rest = name.partition("/") if "/" in name else ("", "", name)
    text = re.sub(r"[\[\](),]+", "", rest.lower().replace(", ", "x").replace("=", ""))
    text = re.sub(r"[^a-z0-9_.-]+", "-", text).strip("-")
    return ".".join(part for part in (op.lower(), text) if part)


def _cell(case: OpCase) -> tuple[str, str]:
    """Op with its function, and the types of its sources, of the result where it is another."""
    _, outputs = case.make()
    return cell_of(outputs[-1], case.op)


def cell_of(output: Tensor, op: str) -> tuple[str, str]:
    """The node that a case is about: the first with its op, from the result backwards."""
    node, queue = output, [output]
    while queue:
        node = queue.pop(0)
        if node.op == op:
            break
        queue += [s for s in (*node.src, node.view_src) if s is not None]
    else:
        node = output
    sources = [s for s in node.src if s is not None]
    if node.op in VIEW_OPS:
        sources = []
    types = [s.type.name for s in sources[:2]] or [node.type.name]
    if node.type.name not in types and node.op in ("CPY", "SET_ROWS", "DUP", "CONT"):
        types = [types[0], node.type.name]
    name = node.op
    if node.op == "UNARY":
        name = _function(node, "unary")
    if node.op == "GLU":
        name = _function(node, "glu")
    return name, " ".join(types)


def _function(node: Tensor, table: str) -> str:
    numbers = NEWEST.unary if table == "unary" else NEWEST.glu
    function = next(name for name, n in numbers.items() if n == node.i32(0))
    return f"{node.op}/{function}"
