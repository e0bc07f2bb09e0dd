"""Where ROPE is MLX's own, and where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from one_case import run

from ggmlrpc_core.graph.build import RopeMode
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.inputs import Case, Inputs

POSITIONS = [0, 7, 3, 4095, 100]


def rope(b: Inputs, *, factors: bool = False, **options: Any) -> Tensor:
    """5 tokens at positions out of order."""
    options = {"n_dims": 24, "mode": RopeMode.NEOX, **options}
    four = options["mode"] in (RopeMode.MROPE, RopeMode.IMROPE)
    pos = b.given("I32", np.array(POSITIONS * (4 if four else 1)))
    divisors = b.rand("F32", 12, low=1.0, high=4.0) if factors else None
    return b.rope_ext(b.rand("F32", 32, 3, 5), pos, divisors, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": RopeMode.NORMAL},
        {"n_dims": 32},
        {"freq_base": 500000.0, "freq_scale": 0.25},
    ],
    ids=str,
)
def test_plain_rope_is_fused(options: dict[str, Any]) -> None:
    used = run(Case("ROPE/fused", lambda b: rope(b, **options), 1e-7), gpu=True, judge=True)
    assert set(used) == {"ggmlrpc_metal.overrides.rope"}


@pytest.mark.parametrize(
    "options",
    [
        {"factors": True},
        {"ext_factor": 1.0, "n_ctx_orig": 512},
        {"attn_factor": 0.5},
        {"mode": RopeMode.MROPE, "sections": (4, 4, 4, 0)},
    ],
    ids=str,
)
def test_every_other_is_left_to_the_op_table(options: dict[str, Any]) -> None:
    used = run(Case("ROPE/table", lambda b: rope(b, **options), 1e-7), gpu=False, judge=True)
    assert set(used) == {"table"}
