"""Every kernel for every type of weights against decoding and products in NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest
from emulation.metal import EmulatedMetal, RealMetal
from ggmlrpc_metal import kernels
from ggmlrpc_metal.kernels.build import tile

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import TYPES, GgmlType
from ggmlrpc_core.testing.cases import nmse
from ggmlrpc_core.testing.inputs import random_blocks

Metal = EmulatedMetal | RealMetal
NAMES = tuple(name for name, kind in TYPES.items() if kind.dot)
BLOCKS = tuple(name for name in NAMES if TYPES[name].quantized)
BOUND = 1e-12
"""Products are summed in f32; a wrong element of a row gives far more."""


def row_length(kind: GgmlType) -> int:
    """Three blocks, or for a plain type three whole parts and a rest of 2."""
    return 3 * kind.blck_size if kind.quantized else 50


def weights(name: str, *shape: int) -> np.ndarray:
    """A raw array [..., row] of ordinary values."""
    kind = TYPES[name]
    rng = np.random.default_rng(len(name) + sum(map(ord, name)))
    k = row_length(kind)
    rows = int(np.prod(shape))
    if kind.quantized:
        blocks = random_blocks(rng, name, rows * k // kind.blck_size)
        return blocks.reshape(*shape, -1)
    values = rng.uniform(-1, 1, (*shape, k)).astype(np.float32)
    return quants.from_f32(np, values, kind)


def scattered(raw: np.ndarray) -> mx.array:
    """The same array as a view with gaps, behind an offset, in memory where every other byte is 0xff."""
    d3, d2, d1, width = raw.shape
    size = raw.itemsize
    row, start = width + 2 * (4 // size), 6 // size if size < 4 else 3
    count = start + d3 * d2 * (d1 + 1) * row
    flat = np.full(count * size, 0xFF, np.uint8).view(raw.dtype)
    strides = [d2 * (d1 + 1) * row, (d1 + 1) * row, row, 1]
    view = np.lib.stride_tricks.as_strided(
        flat[start:], raw.shape, [s * size for s in strides], writeable=True
    )
    view[...] = raw
    return mx.as_strided(mx.array(flat), raw.shape, strides, start)


def x_of(*shape: int) -> np.ndarray:
    """Activations."""
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def mul_mat_nmse(name: str, *, columns: int) -> float:
    """A product with 5 rows, 2 x 3 slices of weights for 4 x 3 of x, as a view with gaps."""
    raw = weights(name, 2, 3, 5)
    x = x_of(4, 3, columns, row_length(TYPES[name]))
    got = kernels.mul_mat(mx, name, scattered(raw), mx.array(x))
    values = np.repeat(quants.to_f32(np, raw, TYPES[name]), 2, axis=0)
    want = x.astype(np.float64) @ np.swapaxes(values, 2, 3)
    return nmse(np.array(got), want)


def long_rows_nmse() -> float:
    """A product whose lanes take more than one part each: 70 parts."""
    values = np.random.default_rng(5).uniform(-1, 1, (1, 1, 3, 1120)).astype(np.float32)
    raw = quants.from_f32(np, values, TYPES["Q8_0"])
    x = x_of(1, 1, 1, 1120)
    got = kernels.mul_mat(mx, "Q8_0", mx.array(raw), mx.array(x))
    want = x.astype(np.float64) @ np.swapaxes(quants.to_f32(np, raw, TYPES["Q8_0"]), 2, 3)
    return nmse(np.array(got), want)


def mul_mat_id_nmse(name: str) -> float:
    """4 pairs of 3 experts with 11 rows, as a view with gaps; one expert twice, one row of x twice."""
    raw = weights(name, 1, 3, 11)
    x = x_of(3, row_length(TYPES[name]))
    ids, rows = np.array([2, 0, 2, 1], np.int32), np.array([0, 2, 1, 2], np.int32)
    got = kernels.mul_mat_id(
        mx, name, scattered(raw), mx.array(x), mx.array(ids), x_rows=mx.array(rows)
    )
    values = quants.to_f32(np, raw[0], TYPES[name]).astype(np.float64)
    want = np.einsum("pmk,pk->pm", values[ids], x[rows])
    return nmse(np.array(got), want)


def decoded(raw: np.ndarray, name: str) -> np.ndarray:
    """What the kernel decodes."""
    return np.array(kernels.dequantize(mx, name, scattered(raw)))


@pytest.fixture(scope="module")
def ready(kernels_run: Metal) -> Iterator[Metal]:
    """Kernels of this file, compiled together."""
    with kernels_run.gather():
        for name in NAMES:
            for columns in (1, 3):
                mul_mat_nmse(name, columns=columns)
            mul_mat_id_nmse(name)
        for name in BLOCKS:
            decoded(weights(name, 2, 2, 3), name)
        long_rows_nmse()
        mul_mat_nmse("Q4_0", columns=2)
        mul_mat_nmse("Q4_0", columns=13)
    yield kernels_run


def test_every_type_of_weights_has_a_format() -> None:
    assert set(kernels.all_formats()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_products_with_one_column_and_with_three(name: str, ready: Metal) -> None:
    assert mul_mat_nmse(name, columns=1) < BOUND
    assert mul_mat_nmse(name, columns=3) < BOUND


def test_rows_longer_than_a_simdgroup_reads_at_once(ready: Metal) -> None:
    assert long_rows_nmse() < BOUND


@pytest.mark.parametrize("columns", [2, 13])
def test_groups_of_columns(columns: int, ready: Metal) -> None:
    assert mul_mat_nmse("Q4_0", columns=columns) < BOUND


@pytest.mark.parametrize("name", NAMES)
def test_products_of_chosen_experts(name: str, ready: Metal) -> None:
    assert mul_mat_id_nmse(name) < BOUND


@pytest.mark.parametrize("name", BLOCKS)
def test_decoding_is_exact(name: str, gpu: bool, ready: Metal) -> None:
    """Over any bytes: infinite scales and codes that no quantizer writes too.

    A GPU may join a product and a sum, take subnormal numbers for 0 and infinite ones for anything.
    """
    kind = TYPES[name]
    if gpu:
        raw = weights(name, 2, 2, 3)
        assert nmse(decoded(raw, name), quants.to_f32(np, raw, kind)) < BOUND
        return
    width = kind.row_size(row_length(kind))
    raw = np.random.default_rng(3).integers(0, 256, (2, 2, 40, width), np.uint8)
    np.testing.assert_array_equal(decoded(raw, name), quants.to_f32(np, raw, kind))


def test_a_wrong_expert_stays_inside_the_weights(ready: Metal) -> None:
    raw, x = weights("Q8_0", 1, 2, 3), x_of(1, row_length(TYPES["Q8_0"]))
    rows = mx.array(np.zeros(2, np.int32))

    def product(*ids: int) -> np.ndarray:
        chosen = mx.array(np.array(ids, np.int32))
        return np.array(
            kernels.mul_mat_id(mx, "Q8_0", mx.array(raw), mx.array(x), chosen, x_rows=rows)
        )

    np.testing.assert_array_equal(product(-1, 2), product(1, 1))


@pytest.mark.parametrize(
    ("columns", "expected"), [(1, (2, 1)), (2, (1, 2)), (3, (1, 4)), (8, (1, 8)), (16, (1, 8))]
)
def test_tile(columns: int, expected: tuple[int, int]) -> None:
    assert tile(columns) == expected
