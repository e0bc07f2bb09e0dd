"""SOLVE_TRI: linear equations with a triangular matrix."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import op, source
from ggmlrpc_core.ops.rules import contiguous


def _check_solve_tri(c: Nodes) -> None:
    a, b = c.src(0), c.src(1)
    contiguous(0, 1)(c)
    c.require(a.ne[:, 0] == a.ne[:, 1], "src[0].ne[1]", a.ne[:, 1], "src[0].ne[0]")
    ok = (b.ne[:, 1:] == a.ne[:, 1:]).all(axis=1)
    c.require(ok, "src[1].ne", b.ne, "[any, src[0].ne[1], src[0].ne[2], src[0].ne[3]]")
    c.require((c.ne == b.ne).all(axis=1), "ne", c.ne, "src[1].ne")


@op(
    "SOLVE_TRI",
    sources=[source("a", "F32"), source("b", "F32")],
    result="F32",
    check=_check_solve_tri,
    precision="f32; nmse <= 1e-6 for well conditioned a",
    since="2025-11-13",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_solve_tri_f32",
)
def solve_tri(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """X of A X = B, where A is the lower triangle of a with its diagonal.

    a: [n, n, ..]; b: [m, n, ..]; result as b. A zero on the diagonal gives what the division gives.
    """
    rest, rows = b, []
    for i in range(a.shape[2]):
        row = rest[:, :, :1] / a[:, :, i : i + 1, i : i + 1]
        rest = rest[:, :, 1:] - a[:, :, i + 1 :, i : i + 1] * row
        rows.append(row)
    return xp.concatenate(rows, axis=2)
