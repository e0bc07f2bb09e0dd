"""Blocks in the form of MLX's quantized product: the same values, bit for bit."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from ggmlrpc_metal.overrides.packed import packings

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import TYPES

NAMES = tuple(packings())
UNWRITTEN = {"MXFP4": (255,), "NVFP4": (0xFF,)}
"""Scale codes that no quantizer writes, and that MLX reads otherwise."""


def any_blocks(name: str, m: int, n: int) -> np.ndarray:
    """Rows [m, bytes] of random blocks with every scale code but the unwritten, and finite half-precision scales."""
    kind = TYPES[name]
    rng = np.random.default_rng(11)
    blocks = rng.integers(0, 256, (m, n, kind.type_size), np.uint8)
    if name in UNWRITTEN:
        count = {"MXFP4": 1, "NVFP4": 4}[name]
        codes = np.setdiff1d(np.arange(256), UNWRITTEN[name]).astype(np.uint8)
        blocks[:, :, :count] = np.resize(codes, (m, n, count))
    else:
        halves = {"Q4_0": 1, "Q4_1": 2}[name]
        scales = rng.standard_normal((m, n, halves)).astype(np.float16)
        blocks[:, :, : 2 * halves] = scales.view(np.uint8)
    return blocks.reshape(m, -1)


@pytest.mark.parametrize("name", NAMES)
def test_decoded_values_are_exact(name: str, gpu: bool) -> None:
    """The product with a unit matrix gives the decoded weights, in the order of the columns.

    A GPU may take subnormal numbers for 0.
    """
    kind = TYPES[name]
    rows = any_blocks(name, 64, 8)
    unit = mx.eye(8 * kind.blck_size)
    packing = packings()[name]
    packed = packing.pack(mx, mx.array(rows), type_size=kind.type_size)
    got = mx.quantized_matmul(packing.order(unit), *packed, **packing.options)
    want = quants.to_f32(np, rows, kind)
    smallest = float(np.finfo(np.float32).smallest_normal) if gpu else 0.0
    np.testing.assert_allclose(np.array(got).T, want, rtol=0, atol=smallest)


def test_every_scale_code_was_tried() -> None:
    assert len(np.unique(any_blocks("MXFP4", 64, 8).reshape(-1, 17)[:, 0])) == 255
    assert len(np.unique(any_blocks("NVFP4", 64, 8).reshape(-1, 36)[:, :4])) == 255
