"""Attention beyond the op cases: rows that see nothing, shared streams, masks for each head; and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from one_case import run

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.inputs import Case, Inputs

BOUND = 5e-4
"""The query is rounded to the type of the keys."""


def attention(
    b: Inputs,
    *,
    mask: Tensor | None = None,
    streams: tuple[int, int] = (1, 1),
    heads_v: int = 2,
    **options: float,
) -> Tensor:
    q = b.rand("F32", 64, 3, 4, streams[0])
    k, v = b.rand("F16", 64, 9, 2, streams[1]), b.rand("F16", 32, 9, heads_v, streams[1])
    return b.flash_attn_ext(q, k, v, mask, scale=0.125, **options)


def with_a_blind_row(b: Inputs) -> Tensor:
    values = np.zeros((3, 9), np.float32)
    values[1] = -np.inf
    return attention(b, mask=b.given("F16", values))


def with_a_mask_for_each_head(b: Inputs) -> Tensor:
    return attention(b, mask=b.rand("F16", 9, 3, 4, 2), streams=(2, 2))


def with_shared_streams(b: Inputs) -> Tensor:
    return attention(b, streams=(2, 1))


def with_other_heads_of_v(b: Inputs) -> Tensor:
    return attention(b, heads_v=4)


def with_a_mask_for_every_second_head(b: Inputs) -> Tensor:
    return attention(b, mask=b.rand("F16", 9, 3, 2))


def with_a_cap(b: Inputs) -> Tensor:
    return attention(b, logit_softcap=10.0)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize(
    "build", [with_a_blind_row, with_a_mask_for_each_head, with_shared_streams]
)
def test_fused(build: object, gpu: bool) -> None:
    used = run(Case("FLASH_ATTN_EXT/fused", build, BOUND), gpu=gpu, judge=True)  # type: ignore[arg-type]
    assert set(used) == {"ggmlrpc_metal.overrides.attention"}


@pytest.mark.parametrize(
    "build", [with_other_heads_of_v, with_a_mask_for_every_second_head, with_a_cap]
)
def test_left_to_the_op_table(build: object) -> None:
    used = run(Case("FLASH_ATTN_EXT/table", build, BOUND), gpu=False, judge=True)  # type: ignore[arg-type]
    assert set(used) == {"table"}
