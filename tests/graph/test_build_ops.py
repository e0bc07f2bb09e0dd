"""Ops of language models: result shapes and op_params."""

from __future__ import annotations

import struct

import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build import GraphBuilder, RopeMode


@pytest.fixture
def b():
    return GraphBuilder()


def bits(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]


def test_view_has_given_strides_and_the_offset_in_its_parameters(b):
    a = b.new_tensor("F32", 8, 8)
    v = b.view(a, 4, 2, nb=[64], offset=40)
    assert (v.ne, v.nb) == ((4, 2, 1, 1), (4, 64, 128, 128))
    assert (v.view_src, v.view_offs, v.src, v.op_params[:2]) == (a, 40, (a,), (40, 0))
    with pytest.raises(LocalProtocolError, match=r"VIEW: view is \[200, 260\)"):
        b.view(a, 15, offset=200)


def test_a_view_offset_above_31_bits_fills_both_slots(b):
    a = b.new_tensor("I8", 1 << 20, 1 << 13)
    v = b.view(a, 16, offset=(1 << 32) + 0x80000000)
    assert v.op_params[:2] == (-(1 << 31), 1)


def test_permute_and_transpose(b):
    a = b.new_tensor("F16", 2, 3, 5, 7)
    p = b.permute(a, 2, 0, 1, 3)
    assert (p.ne, p.nb) == ((3, 5, 2, 7), (4, 12, 2, 60))
    assert p.op_params[:4] == (2, 0, 1, 3)
    t = b.transpose(a)
    assert (t.ne, t.nb, t.view_src) == ((3, 2, 5, 7), (4, 2, 12, 60), a)
    assert b.transpose(b.new_tensor("Q8_0", 32, 3)).ne == (3, 32, 1, 1)


def test_reshape_wants_a_contiguous_source_of_the_same_count(b):
    a = b.new_tensor("F32", 4, 6)
    assert b.reshape(a, 8, 3).ne == (8, 3, 1, 1)
    with pytest.raises(LocalProtocolError, match="24 elements"):
        b.reshape(a, 5, 5)
    with pytest.raises(LocalProtocolError, match="contiguous"):
        b.reshape(b.transpose(a), 24)


def test_mul_mat_broadcasts_the_upper_dimensions(b):
    y = b.mul_mat(b.new_tensor("Q8_0", 64, 5, 2), b.new_tensor("F32", 64, 3, 4, 6))
    assert (y.type.name, y.ne) == ("F32", (5, 3, 4, 6))
    with pytest.raises(LocalProtocolError, match=r"src\[1\]\.ne\[0\] is 32, expected 64"):
        b.mul_mat(b.new_tensor("F32", 64, 5), b.new_tensor("F32", 32, 3))
    with pytest.raises(LocalProtocolError, match="multiple of 2"):
        b.mul_mat(b.new_tensor("F32", 64, 5, 2), b.new_tensor("F32", 64, 3, 3))
    with pytest.raises(LocalProtocolError, match="transposed"):
        b.mul_mat(b.transpose(b.new_tensor("F32", 5, 64)), b.new_tensor("F32", 64, 3))


def test_mul_mat_id(b):
    y = b.mul_mat_id(
        b.new_tensor("F16", 32, 5, 8), b.new_tensor("F32", 32, 1, 3), b.new_tensor("I32", 2, 3)
    )
    assert y.ne == (5, 2, 3, 1)


def test_rows(b):
    table = b.new_tensor("Q4_K", 256, 10)
    y = b.get_rows(table, b.new_tensor("I32", 3))
    assert (y.type.name, y.ne) == ("F32", (256, 3, 1, 1))
    assert b.get_rows(b.new_tensor("I32", 4, 4), b.new_tensor("I32", 2)).type.name == "I32"
    cache, values, ids = (
        b.new_tensor("F16", 8, 16),
        b.new_tensor("F32", 8, 2),
        b.new_tensor("I64", 2),
    )
    s = b.set_rows(cache, values, ids)
    assert (s.src, s.view_src, s.ne, s.type.name) == ((values, ids, cache), cache, cache.ne, "F16")


def test_copies(b):
    a, target = b.new_tensor("F32", 4, 6), b.new_tensor("F16", 24)
    c = b.cpy(a, target)
    assert (c.src, c.view_src, c.ne, c.type.name) == ((a, target), target, (24, 1, 1, 1), "F16")
    cast = b.cast(a, "BF16")
    assert cast.src == (a, cast) and cast.view_src is None
    assert b.cont(b.transpose(a)).nb == (4, 24, 96, 96)
    assert b.cont(a, 24).ne == (24, 1, 1, 1)


def test_parameters_are_canonical(b):
    a, pos = b.new_tensor("F32", 64, 2, 3), b.new_tensor("I32", 3)
    r = b.rope_ext(a, pos, n_dims=32, mode=RopeMode.NEOX, freq_base=5e5, n_ctx_orig=4096)
    assert r.op_params[:11] == (
        0, 32, 2, 0, 4096, bits(5e5), bits(1), 0, bits(1), bits(32), bits(1),
    )  # fmt: skip
    assert r.src == (a, pos)
    with pytest.raises(LocalProtocolError, match="positions"):
        b.rope_ext(a, pos, n_dims=32, mode=RopeMode.MROPE)
    assert b.scale(a, 2, bias=1).op_params[:2] == (bits(2), bits(1))
    assert b.silu(a).op_params[0] == NEWEST.unary["SILU"]
    assert b.concat(a, a, 2).op_params[0] == 2
    assert b.clamp(a, -1, 1).op_params[:2] == (bits(-1), bits(1))
    assert b.pad(a, 1, 2, left=[3]).ne == (68, 4, 3, 1)
    assert b.pad(a, 1, 2, left=[3]).op_params[:9] == (3, 1, 0, 2, 0, 0, 0, 0, 0)


def test_flash_attention_has_heads_before_tokens(b):
    q, k = b.new_tensor("F32", 64, 5, 8, 2), b.new_tensor("F16", 64, 32, 4, 2)
    v, mask = b.new_tensor("F16", 48, 32, 4, 2), b.new_tensor("F16", 32, 5)
    y = b.flash_attn_ext(q, k, v, mask, scale=0.125, logit_softcap=30.0)
    assert (y.ne, y.op_params[:4]) == ((48, 8, 5, 2), (bits(0.125), 0, bits(30), 0))
    sinks = b.new_tensor("F32", 8)
    assert b.flash_attn_ext(q, k, v, scale=1.0, sinks=sinks).src == (q, k, v, None, sinks)


def test_glu_halves_one_source_and_keeps_two(b):
    a = b.new_tensor("F32", 8, 2)
    assert b.swiglu(a).ne == (4, 2, 1, 1)
    assert b.swiglu(a, b=a).ne == a.ne
    assert b.swiglu(a, swapped=True).op_params[:2] == (NEWEST.glu["SWIGLU"], 1)


def test_reductions_and_sorting(b):
    a = b.new_tensor("F32", 9, 7, 3, 2)
    assert b.top_k(a, 2).ne == (2, 7, 3, 2)
    assert b.argsort_top_k(a, 2).nb == (4, 36, 252, 756)
    assert b.sum_rows(a).ne == (1, 7, 3, 2)
    assert b.argmax(b.new_tensor("F32", 9, 7)).ne == (7, 1, 1, 1)
    with pytest.raises(LocalProtocolError, match="k is 10, expected 1 to 9"):
        b.top_k(a, 10)
