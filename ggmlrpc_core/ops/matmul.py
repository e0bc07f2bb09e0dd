"""Matrix products: MUL_MAT, MUL_MAT_ID, OUT_PROD.

Source 0 of MUL_MAT is a weight and may be large: it is read as f32 in tiles of rows, never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, QUANTS, Ids, i32, op, source
from ggmlrpc_core.ops.rules import divides, result_ne
from ggmlrpc_core.ops.values import constant, floats, present, to_host

TILE_BYTES = 16 << 20
"""Most f32 bytes that a tile of source 0 takes."""

WEIGHTS = tuple(t.name for t in TYPES.values() if t.dot)
PRECISION = (
    "products and sums in f32, source 1 unrounded; nmse <= 5e-4 against a backend that rounds it"
)


def row_tiles(n_rows: int, row_elements: int) -> Iterator[slice]:
    """Slices of rows whose f32 form is at most TILE_BYTES, at least one row each."""
    step = max(1, TILE_BYTES // (4 * max(row_elements, 1)))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def times_rows(xp: Any, x: Any, rows: Any, tensor: Tensor | None) -> Any:
    """x [n, k] times each row of a raw matrix [m, ...] of `tensor`'s type: [n, m]."""
    parts = [
        xp.matmul(x, xp.swapaxes(floats(xp, rows[tile], tensor), 0, 1))
        for tile in row_tiles(rows.shape[0], x.shape[1])
    ]
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=1)


def _check_not_transposed(c: Nodes) -> None:
    a = c.src(0)
    c.require(a.nb[:, 0] <= a.nb[:, 1], "src[0].nb", a.nb, "rows that are not transposed")


def _check_mul_mat(c: Nodes) -> None:
    a, b = c.src(0), c.src(1)
    c.require(a.ne[:, 0] == b.ne[:, 0], "src[1].ne[0]", b.ne[:, 0], "src[0].ne[0]")
    ok = divides(a.ne[:, 2:], b.ne[:, 2:]).all(axis=1)
    c.require(ok, "src[0].ne", a.ne, "ne[2] and ne[3] that divide those of src[1]")
    _check_not_transposed(c)
    rule = "[src[0].ne[1], src[1].ne[1], src[1].ne[2], src[1].ne[3]]"
    result_ne(c, (a.ne[:, 1], b.ne[:, 1], b.ne[:, 2], b.ne[:, 3]), rule)


@op(
    "MUL_MAT",
    sources=[source("a", *WEIGHTS), source("b", *FLOATS, *QUANTS)],
    result="F32",
    params=[i32(0, "precision"), i32(1, "hint"), i32(3, "b_precision")],
    check=_check_mul_mat,
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ggml-cpu.c ggml_compute_forward_mul_mat",
)
def mul_mat(
    xp: Any, node: Tensor, a: Any, b: Any, *, precision: int, hint: int, b_precision: int
) -> Any:
    """Dot products of the rows of a with the rows of b.

    a: [k, m, A2, A3]; b: [k, n, B2, B3]; result [m, n, B2, B3]. Slice (i2, i3) of the result uses slice
    (i2 / (B2 / A2), i3 / (B3 / A3)) of a. The precision hints ask for less than f32 and are not needed; hint 1 says
    that a is a Hadamard matrix, whose product is the same.
    """
    x = floats(xp, b, node.src[1])
    a3, a2, m = a.shape[:3]
    b3, b2, n, k = x.shape
    r3, r2 = b3 // a3, b2 // a2
    slabs = []
    for i3 in range(a3):
        row = []
        for i2 in range(a2):
            part = x[i3 * r3 : (i3 + 1) * r3, i2 * r2 : (i2 + 1) * r2].reshape(r3 * r2 * n, k)
            row.append(times_rows(xp, part, a[i3, i2], node.src[0]).reshape(r3, r2, n, m))
        slabs.append(row[0] if a2 == 1 else xp.concatenate(row, axis=1))
    return slabs[0] if a3 == 1 else xp.concatenate(slabs, axis=0)


def _check_mul_mat_id(c: Nodes) -> None:
    a, b, ids = c.src(0), c.src(1), c.src(2)
    c.require(a.ne[:, 0] == b.ne[:, 0], "src[1].ne[0]", b.ne[:, 0], "src[0].ne[0]")
    c.require(a.ne[:, 3] == 1, "src[0].ne[3]", a.ne[:, 3], "1")
    c.require(b.ne[:, 3] == 1, "src[1].ne[3]", b.ne[:, 3], "1")
    c.require((ids.ne[:, 2:] == 1).all(axis=1), "src[2].ne", ids.ne, "a matrix")
    c.require(ids.ne[:, 1] == b.ne[:, 2], "src[2].ne[1]", ids.ne[:, 1], "src[1].ne[2]")
    c.require(
        divides(b.ne[:, 1], ids.ne[:, 0]),
        "src[2].ne[0]",
        ids.ne[:, 0],
        "a multiple of src[1].ne[1]",
    )
    _check_not_transposed(c)
    result_ne(
        c,
        (a.ne[:, 1], ids.ne[:, 0], b.ne[:, 2], 1),
        "[src[0].ne[1], src[2].ne[0], src[1].ne[2], 1]",
    )


@op(
    "MUL_MAT_ID",
    sources=[source("experts", *WEIGHTS), source("b", *FLOATS), source("ids", "I32")],
    result="F32",
    params=[i32(0, "precision"), i32(3, "b_precision")],
    check=_check_mul_mat_id,
    ids=Ids(2, lambda node: present(node.src[0]).ne[2]),
    precision=PRECISION,
    since="2024-05-14",
    upstream="ggml-cpu/ggml-cpu.c ggml_compute_forward_mul_mat_id",
)
def mul_mat_id(
    xp: Any, node: Tensor, experts: Any, b: Any, ids: Any, *, precision: int, b_precision: int
) -> Any:
    """For each token and used slot, the product of one expert's rows with a row of b.

    experts: [k, m, E]; b: [k, used or a divisor of it, tokens]; ids: [used, tokens]; result [m, used, tokens].
    Column (j, t) = experts[ids[j, t]] times b[j % b.ne[1], t].
    """
    x = floats(xp, b, node.src[1])[0]
    chosen = to_host(xp, ids)[0, 0]
    n_tokens, n_used = chosen.shape
    slot = np.arange(n_used) % x.shape[1]
    source_row = (np.arange(n_tokens)[:, None] * x.shape[1] + slot[None, :]).reshape(-1)
    chosen = chosen.reshape(-1)
    x = x.reshape(-1, x.shape[2])
    order = np.argsort(chosen, kind="stable")
    parts = []
    for e in np.unique(chosen).tolist():
        columns = constant(xp, source_row[order][chosen[order] == e], np.int32)
        parts.append(times_rows(xp, x[columns], experts[0, e], node.src[0]))
    back = constant(xp, np.argsort(order, kind="stable"), np.int32)
    return xp.concatenate(parts, axis=0)[back].reshape(node.shape)


def _check_out_prod(c: Nodes) -> None:
    a, b = c.src(0), c.src(1)
    c.require(a.ne[:, 1] == b.ne[:, 1], "src[1].ne[1]", b.ne[:, 1], "src[0].ne[1]")
    ok = divides(a.ne[:, 2:], b.ne[:, 2:]).all(axis=1)
    c.require(ok, "src[0].ne", a.ne, "ne[2] and ne[3] that divide those of src[1]")
    _check_not_transposed(c)
    rule = "[src[0].ne[0], src[1].ne[0], src[1].ne[2], src[1].ne[3]]"
    result_ne(c, (a.ne[:, 0], b.ne[:, 0], b.ne[:, 2], b.ne[:, 3]), rule)


@op(
    "OUT_PROD",
    sources=[source("a", *FLOATS, *QUANTS), source("b", *FLOATS)],
    result="F32",
    check=_check_out_prod,
    precision="products and sums in f32; nmse <= 1e-7",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_out_prod",
)
def out_prod(xp: Any, node: Tensor, a: Any, b: Any) -> Any:
    """Sum over k of the outer products of row k of a and row k of b.

    a: [m, k, A2, A3]; b: [n, k, B2, B3]; result [m, n, B2, B3]; slices are shared as in MUL_MAT.
    """
    x = floats(xp, b, node.src[1])
    a3, a2 = a.shape[:2]
    b3, b2 = x.shape[:2]
    slices = []
    for i3 in range(b3):
        for i2 in range(b2):
            rows = floats(xp, a[i3 // (b3 // a3), i2 // (b2 // a2)], node.src[0])
            slices.append(xp.matmul(xp.swapaxes(x[i3, i2], 0, 1), rows))
    return xp.stack(slices).reshape(node.shape)
