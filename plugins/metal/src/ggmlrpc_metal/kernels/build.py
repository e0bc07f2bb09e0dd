"""Kernels as functions on MLX arrays: built when first asked for, launched with the right grid.

Calls trace; nothing is computed until MLX evaluates. MLX is imported by whoever passes `mx`, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from ggmlrpc_metal.kernels.format import PART, Format
from ggmlrpc_metal.kernels.formats_iq import iq_formats
from ggmlrpc_metal.kernels.formats_k import k_formats
from ggmlrpc_metal.kernels.formats_small import small_formats
from ggmlrpc_metal.kernels.matrix import (
    DEQUANTIZE,
    MUL_MAT,
    MUL_MAT_ID,
    SIMD_WIDTH,
    SIMDGROUPS,
    product_header,
)
from ggmlrpc_metal.kernels.recurrence import SCANS
from ggmlrpc_metal.kernels.recurrence import SIMDGROUPS as SCAN_SIMDGROUPS

MAX_COLUMNS = 8
"""Most columns that share one reading of the weights."""


@cache
def all_formats() -> MappingProxyType[str, Format]:
    """Every type of weights by name."""
    return MappingProxyType({**small_formats(), **k_formats(), **iq_formats()})


def tile(columns: int) -> tuple[int, int]:
    """(ROWS, COLUMNS) of a simdgroup for a product with so many columns.

    With one column two rows share what is read of x; with more the sums need the registers.
    """
    if columns == 1:
        return 2, 1
    return 1, min(MAX_COLUMNS, 1 << (columns - 1).bit_length())


@cache
def kernel_of(name: str, type_name: str) -> Any:
    """A kernel of one body for one type of weights."""
    import mlx.core as mx

    form = all_formats()[type_name]
    body, inputs, header = {
        "mul_mat": (MUL_MAT, ["w", "x"], product_header(form)),
        "mul_mat_id": (MUL_MAT_ID, ["w", "x", "ids", "x_rows"], product_header(form)),
        "dequantize": (DEQUANTIZE, ["w"], form.header),
    }[name]
    return mx.fast.metal_kernel(
        name=f"ggmlrpc_{name}_{type_name.lower()}",
        input_names=inputs,
        output_names=["y"],
        source=body,
        header=header,
        ensure_row_contiguous=False,
    )


@cache
def scan_of(name: str) -> Any:
    """The kernel of a recurrence."""
    import mlx.core as mx

    return mx.fast.metal_kernel(
        name=f"ggmlrpc_scan_{name}",
        input_names=list(SCANS[name].inputs),
        output_names=["y"],
        source=SCANS[name].body,
        ensure_row_contiguous=False,
    )


def mul_mat(mx: Any, type_name: str, w: Any, x: Any, *, verbose: bool = False) -> Any:
    """Rows of weights times rows of x, read where they lie.

    Args:
        w: raw array [A3, A2, m, row] of the type; elements of a row are neighbours, other strides are free.
        x: f32 [B3, A2, columns, k], B3 a multiple of A3.
        verbose: print the source that MLX makes.

    Returns:
        f32 [B3, A2, columns, m].
    """
    b3, a2, columns, _ = x.shape
    m = w.shape[2]
    rows, together = tile(columns)
    groups = -(-m // (rows * SIMDGROUPS))
    return kernel_of("mul_mat", type_name)(
        inputs=[w, mx.contiguous(x)],
        template=[("ROWS", rows), ("COLUMNS", together)],
        grid=(groups * SIMDGROUPS * SIMD_WIDTH, -(-columns // together), b3 * a2),
        threadgroup=(SIMDGROUPS * SIMD_WIDTH, 1, 1),
        output_shapes=[(b3, a2, columns, m)],
        output_dtypes=[mx.float32],
        verbose=verbose,
    )[0]


def mul_mat_id(
    mx: Any, type_name: str, w: Any, x: Any, ids: Any, *, x_rows: Any, verbose: bool = False
) -> Any:
    """Rows of chosen experts times rows of x.

    Args:
        w: raw array [1, experts, m, row].
        x: f32 [rows, k].
        ids: int32 [pairs], the expert of each pair.
        x_rows: int32 [pairs], the row of x of each pair.
        verbose: print the source that MLX makes.

    Returns:
        f32 [pairs, m].
    """
    m, pairs = w.shape[2], ids.shape[0]
    rows, _ = tile(1)
    groups = -(-m // (rows * SIMDGROUPS))
    return kernel_of("mul_mat_id", type_name)(
        inputs=[w, mx.contiguous(x), mx.contiguous(ids), x_rows],
        template=[("ROWS", rows)],
        grid=(groups * SIMDGROUPS * SIMD_WIDTH, pairs, 1),
        threadgroup=(SIMDGROUPS * SIMD_WIDTH, 1, 1),
        output_shapes=[(pairs, m)],
        output_dtypes=[mx.float32],
        verbose=verbose,
    )[0]


def dequantize(mx: Any, type_name: str, w: Any, *, verbose: bool = False) -> Any:
    """The elements of a raw array [d3, d2, d1, row] of a quantized type: f32 [d3, d2, d1, k]."""
    kind = all_formats()[type_name].type
    d3, d2, d1, width = w.shape
    k = width // kind.type_size * kind.blck_size
    return kernel_of("dequantize", type_name)(
        inputs=[w],
        grid=(k // PART, d1, d3 * d2),
        threadgroup=(min(SIMD_WIDTH, k // PART), 1, 1),
        output_shapes=[(d3, d2, d1, k)],
        output_dtypes=[mx.float32],
        verbose=verbose,
    )[0]


def scan(mx: Any, name: str, arrays: Mapping[str, Any], *, verbose: bool = False) -> Any:
    """A recurrence over all tokens.

    Args:
        name: in SCANS.
        arrays: its inputs by name, in the extents that kernels/recurrence.py states; any strides.
        verbose: print the source that MLX makes.

    Returns:
        f32, flat: outputs [seqs, tokens, heads, rows], then states [seqs, heads, rows * keys].
    """
    kernel = SCANS[name]
    seqs, tokens, heads, rows = arrays["v"].shape
    state = arrays["state"].shape
    keys = state[3] if kernel.keys_fast else state[2]
    groups = -(-rows // SCAN_SIMDGROUPS)
    return scan_of(name)(
        inputs=[mx.contiguous(arrays[n]) for n in kernel.inputs],
        template=[("KEYS", keys)],
        grid=(groups * SCAN_SIMDGROUPS * SIMD_WIDTH, heads, seqs),
        threadgroup=(SCAN_SIMDGROUPS * SIMD_WIDTH, 1, 1),
        output_shapes=[(seqs * heads * rows * (tokens + keys),)],
        output_dtypes=[mx.float32],
        verbose=verbose,
    )[0]
