"""The emulation itself: it must see what Metal would refuse or leave open."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from emulation.metal import EmulatedMetal, KernelFailed, RealMetal

X = np.arange(40, dtype=np.float32)


@pytest.fixture
def emulated(metal: EmulatedMetal | RealMetal) -> EmulatedMetal:
    """Only where there is no GPU."""
    if isinstance(metal, RealMetal):
        pytest.skip("a GPU is tested")
    return metal


def run(metal: EmulatedMetal, source: str, *, threads: int = 40, group: int = 32) -> np.ndarray:
    """A kernel from x [40] to y [40]."""
    kernel: Any = metal.metal_kernel(
        name="probe", input_names=["x"], output_names=["y"], source=source
    )
    found = kernel(
        inputs=[mx.array(X)],
        grid=(threads, 1, 1),
        threadgroup=(group, 1, 1),
        output_shapes=[(40,)],
        output_dtypes=[mx.float32],
    )
    return np.array(found[0])


def test_the_last_threadgroup_may_be_smaller(emulated: EmulatedMetal) -> None:
    source = "uint i = thread_position_in_grid.x; y[i] = 2.0f * x[i];"
    np.testing.assert_array_equal(run(emulated, source), 2 * X)


def test_simd_sum_adds_the_lanes_of_one_simdgroup(emulated: EmulatedMetal) -> None:
    source = "uint i = thread_position_in_grid.x; y[i] = metal::simd_sum(x[i]);"
    want = np.concatenate([np.full(32, X[:32].sum()), np.full(8, X[32:].sum())])
    np.testing.assert_array_equal(run(emulated, source), want)


def test_a_pointer_into_the_wrong_address_space_is_refused(emulated: EmulatedMetal) -> None:
    with pytest.raises(KernelFailed, match="device float const"):
        run(emulated, "thread const float* p = x; y[0] = p[0];")


def test_a_simd_sum_that_some_lanes_do_not_reach_is_refused(emulated: EmulatedMetal) -> None:
    source = "if (thread_position_in_grid.x < 3) y[0] = metal::simd_sum(1.0f);"
    with pytest.raises(KernelFailed, match="did not reach"):
        run(emulated, source)


@pytest.mark.parametrize(
    "source",
    [
        "y[thread_position_in_grid.x + 1] = 0.0f;",
        "y[int(thread_position_in_grid.x) - 1024] = 0.0f;",
        "y[thread_position_in_grid.x] = x[thread_position_in_grid.x + 1];",
        "((device float*)x)[0] = 1.0f;",
    ],
    ids=["write behind", "write before", "read behind", "write an argument"],
)
def test_touching_what_is_not_its_own_is_refused(source: str, emulated: EmulatedMetal) -> None:
    with pytest.raises(KernelFailed, match="outside of an array"):
        run(emulated, source)


def test_what_nobody_wrote_is_nan(emulated: EmulatedMetal) -> None:
    got = run(emulated, "if (thread_position_in_grid.x > 0) y[thread_position_in_grid.x] = 1.0f;")
    assert np.isnan(got[0])
    assert (got[1:] == 1.0).all()
