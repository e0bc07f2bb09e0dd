"""Recurrences whose rows are no multiple of a simdgroup, nor their number of a threadgroup, in the emulation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from emulation.metal import EmulatedMetal, RealMetal
from one_case import run

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.inputs import Case, Inputs

Metal = EmulatedMetal | RealMetal
SIZE, HEADS, TOKENS, SEQS = 39, 3, 4, 2
BOUND = 1e-10


def each(b: Inputs, n: int) -> list[Tensor]:
    """Inputs [S, H, T] over all sequences."""
    return [b.rand("F32", SIZE, HEADS, TOKENS * SEQS, low=0.0) for _ in range(n)]


def state(b: Inputs) -> Tensor:
    return b.rand("F32", SIZE * SIZE * HEADS, SEQS)


def wkv6(b: Inputs) -> Tensor:
    k, v, r, decay = each(b, 4)
    return b.rwkv_wkv6(k, v, r, tf=b.rand("F32", SIZE, HEADS), td=decay, state=state(b))


def wkv7(b: Inputs) -> Tensor:
    r, w, k, v, a, c = each(b, 6)
    return b.rwkv_wkv7(r, w, k, v=v, a=b.scale(a, -0.01), b=c, state=state(b))


def gated_linear(b: Inputs) -> Tensor:
    k, v, q, gate = each(b, 4)
    return b.gated_linear_attn(k, v, q, g=gate, state=state(b), scale=0.25)


def gated_delta(b: Inputs, *, gates: int) -> Tensor:
    """6 heads and 4 sequences, 3 and 2 of q and k."""
    q, k = (b.l2_norm(b.rand("F32", SIZE, HEADS, TOKENS, SEQS), eps=1e-6) for _ in range(2))
    return b.gated_delta_net(
        q,
        k,
        b.rand("F32", SIZE, 2 * HEADS, TOKENS, 2 * SEQS),
        g=b.rand("F32", gates, 2 * HEADS, TOKENS, 2 * SEQS, low=-1.0, high=-0.1),
        beta=b.rand("F32", 1, 2 * HEADS, TOKENS, 2 * SEQS, low=0.1),
        state=b.rand("F32", SIZE, SIZE, 2 * HEADS, 2 * SEQS),
        slots=1,
    )


def selective(b: Inputs, *, rates: int) -> Tensor:
    dim, heads = (1, 6) if rates > 1 else (5, 6)
    return b.ssm_scan(
        b.rand("F32", SIZE, dim, heads, 3),
        b.rand("F32", dim, heads, TOKENS, SEQS),
        b.rand("F32", heads, TOKENS, SEQS),
        a=b.rand("F32", rates, heads, low=-2.0, high=-0.1),
        b=b.rand("F32", SIZE, 3, TOKENS, SEQS),
        c=b.rand("F32", SIZE, 3, TOKENS, SEQS),
        ids=b.ids(3, SEQS, distinct=True),
    )


CASES = [
    Case("RWKV_WKV6/odd", wkv6, BOUND),
    Case("RWKV_WKV7/odd", wkv7, BOUND),
    Case("GATED_LINEAR_ATTN/odd", gated_linear, BOUND),
    Case("GATED_DELTA_NET/one gate", lambda b: gated_delta(b, gates=1), BOUND),
    Case("GATED_DELTA_NET/gates", lambda b: gated_delta(b, gates=SIZE), BOUND),
    Case("SSM_SCAN/one rate", lambda b: selective(b, rates=1), BOUND),
    Case("SSM_SCAN/rates", lambda b: selective(b, rates=SIZE), BOUND),
]


@pytest.fixture(scope="module")
def ready(kernels_run: Metal) -> Iterator[Metal]:
    """Kernels of the cases, compiled together."""
    with kernels_run.gather():
        for case in CASES:
            run(case, gpu=True, judge=False)
    yield kernels_run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_a_gpu(case: Case, ready: Metal) -> None:
    used = run(case, gpu=True, judge=True)
    assert set(used) == {"ggmlrpc_metal.overrides.recurrent"}
