"""RMS_NORM with the weights that follow it, on a device."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest
from ggmlrpc_metal.device import MetalDevice

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.inputs import Case, Inputs
from ggmlrpc_core.testing.run_case import run_case

Build = Callable[[Inputs], list[Tensor]]


def weighted(b: Inputs) -> list[Tensor]:
    """What models do."""
    return [b.mul(b.rms_norm(b.rand("F32", 33, 5), eps=1e-5), b.rand("F32", 33))]


def read_twice(b: Inputs) -> list[Tensor]:
    norm = b.rms_norm(b.rand("F32", 33, 5), eps=1e-5)
    return [b.add(b.mul(norm, b.rand("F32", 33)), norm)]


def weights_for_each_row(b: Inputs) -> list[Tensor]:
    return [b.mul(b.rms_norm(b.rand("F32", 33, 5), eps=1e-5), b.rand("F32", 33, 5))]


def of_a_part(b: Inputs) -> list[Tensor]:
    norm = b.rms_norm(b.rand("F32", 33, 5), eps=1e-5)
    part = b.view(norm, 33, 2, nb=(norm.nb[1],), offset=norm.nb[1])
    return [b.mul(part, b.rand("F32", 33))]


def in_place(b: Inputs) -> list[Tensor]:
    return [b.mul(b.rms_norm(b.rand("F32", 33, 5), eps=1e-5), b.rand("F32", 33), inplace=True)]


@pytest.mark.parametrize(
    ("build", "fused"),
    [
        (weighted, True),
        (read_twice, False),
        (weights_for_each_row, False),
        (of_a_part, False),
        (in_place, True),
    ],
)
def test_weighted_rms_norm(
    build: Build, fused: bool, device: MetalDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is the reference's, and the weights go to MLX's kernel exactly where they may."""
    seen: list[bool] = []
    original = mx.fast.rms_norm

    def spy(x: mx.array, weight: mx.array | None, eps: float) -> mx.array:
        seen.append(weight is not None)
        return original(x, weight, eps)

    monkeypatch.setattr(mx.fast, "rms_norm", spy)
    run_case(Case(f"RMS_NORM/{build.__name__}", build, 1e-7), device)
    assert any(seen) == fused
    assert np.array(seen).size > 0
