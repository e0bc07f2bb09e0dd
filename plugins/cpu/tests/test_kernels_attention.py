"""FLASH_ATTN_EXT against the reference op."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.graph.build import GraphBuilder


def attention(*, d=64, dv=64, tokens=1, heads=8, heads_k=2, kv=300, streams=1, k_type="F16", mask=True,
              sinks=False, softcap=0.0, max_bias=0.0):  # fmt: skip
    def build(b: GraphBuilder):
        return b.flash_attn_ext(
            b.new_tensor("F32", d, tokens, heads, streams),
            b.new_tensor(k_type, d, kv, heads_k, streams),
            b.new_tensor(k_type, dv, kv, heads_k, streams),
            b.new_tensor("F16", kv, tokens, 1, streams, name="mask") if mask else None,
            scale=d**-0.5,
            max_bias=max_bias,
            logit_softcap=softcap,
            sinks=b.new_tensor("F32", heads) if sinks else None,
        )

    return build


def causal(kv: int, tokens: int, streams: int = 1) -> np.ndarray:
    """Token t sees K rows up to kv - tokens + t."""
    seen = np.arange(kv)[None, :] <= kv - tokens + np.arange(tokens)[:, None]
    return np.broadcast_to(np.where(seen, 0, -np.inf).astype(np.float16), (streams, 1, tokens, kv))


@pytest.mark.parametrize(
    "k_type",
    ["F16", "Q8_0", *(pytest.param(t, marks=pytest.mark.slow) for t in ("F32", "BF16", "Q4_0"))],
)
@pytest.mark.parametrize("kv", [1, 37, 256, 1000])
def test_one_token(compare, k_type, kv):
    compare(attention(kv=kv, k_type=k_type, mask=False), nmse=1e-10)


@pytest.mark.parametrize(("d", "dv"), [(40, 40), (72, 24), (128, 128), (192, 128)])
def test_head_sizes(compare, d, dv):
    k_type = "F16"
    compare(attention(d=d, dv=dv, tokens=3, kv=70, k_type=k_type, mask=False), nmse=1e-10)


def test_causal_prompt(compare):
    build = attention(tokens=45, kv=333, streams=2)
    compare(build, ids={"mask": causal(333, 45, 2)}, nmse=1e-10)


def test_softcap_alibi_and_sinks(compare):
    build = attention(tokens=5, heads=6, kv=300, softcap=3.0, max_bias=8.0, sinks=True)
    mask = causal(300, 5) - np.arange(300, dtype=np.float16)[None, None, None, ::-1] / 64
    compare(build, ids={"mask": mask}, nmse=1e-9)


def test_a_row_without_any_key_is_zero(compare):
    mask = np.full((1, 1, 2, 100), -np.inf, np.float16)
    mask[..., 1, 3] = 0
    out = compare(attention(tokens=2, kv=100), ids={"mask": mask}, nmse=1e-10)
    assert not out[0, 0].any() and out[0, 1].any()
