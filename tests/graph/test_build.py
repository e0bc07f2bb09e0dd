"""Graph builder: shapes, parameters, node order, use counts, keys, layout."""

from __future__ import annotations

import struct

import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.build import (
    GraphBuilder,
    RopeMode,
    allocate,
    layout,
    message_order,
    node_order,
)
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, FLAG_PARAM


class Memory:
    """An allocator that only counts."""

    alignment = 32

    def __init__(self):
        self.sizes = []

    def alloc(self, size):
        self.sizes.append(size)
        return f"buffer{len(self.sizes)}"

    def alloc_size(self, tensor, srcs):
        return tensor.nbytes


@pytest.fixture
def b():
    return GraphBuilder()


def bits(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]


def test_new_tensor_is_contiguous_and_has_an_id(b):
    t = b.new_tensor("Q4_0", 64, 3, name="w")
    assert (t.ne, t.nb, t.op, t.id) == ((64, 3, 1, 1), (18, 36, 108, 108), "NONE", 1)
    assert b.new_tensor("F32", 1).id == 2


@pytest.mark.parametrize("ne", [(33,), (0x40, -1), (), (32, 1, 1, 1, 1)])
def test_new_tensor_refuses_extents(b, ne):
    with pytest.raises(LocalProtocolError):
        b.new_tensor("Q8_0", *ne)


def test_view_has_given_strides_and_the_offset_in_its_parameters(b):
    a = b.new_tensor("F32", 8, 8)
    v = b.view(a, 4, 2, nb=[64], offset=40)
    assert (v.ne, v.nb) == ((4, 2, 1, 1), (4, 64, 128, 128))
    assert (v.view_src, v.view_offs, v.src, v.op_params[:2]) == (a, 40, (a,), (40, 0))
    with pytest.raises(LocalProtocolError, match=r"VIEW: view is \[200, 260\)"):
        b.view(a, 15, offset=200)


def test_views_of_views_name_the_root(b):
    a = b.new_tensor("F32", 8, 8)
    v = b.view(b.view(a, 8, 4, offset=32), 8, 2, offset=64)
    assert (v.view_src, v.view_offs) == (a, 96)


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


def test_other_shapes(b):
    img = b.new_tensor("F32", 9, 7, 3, 2)
    kernel = b.new_tensor("F16", 3, 3, 3, 4)
    assert b.conv_2d(kernel, img, stride=(2, 1), pad=(1, 0)).ne == (5, 5, 4, 2)
    assert b.im2col(kernel, img).ne == (27, 7, 5, 2)
    assert b.pool_2d(img, 0, k=(2, 2), stride=(2, 2), pad=(0.5, 0.0)).ne == (5, 3, 3, 2)
    assert b.top_k(img, 2).ne == (2, 7, 3, 2)
    assert b.argsort_top_k(img, 2).nb == (4, 36, 252, 756)
    assert b.sum_rows(img).ne == (1, 7, 3, 2)
    assert b.win_part(b.new_tensor("F32", 4, 5, 6), 4).ne == (4, 4, 4, 4)
    assert b.arange(0, 5, 2).ne == (3, 1, 1, 1)
    w = b.new_tensor("F32", 4)
    assert b.opt_step_sgd(w, w, b.new_tensor("F32", 2)).view_src is w
    assert w.flags == FLAG_PARAM


def test_channels_first_data_keeps_its_layout_in_a_depthwise_convolution(b):
    data = b.permute(b.new_tensor("F32", 3, 9, 7), 2, 0, 1, 3)
    y = b.conv_2d(b.new_tensor("F32", 3, 3, 1, 3), data, depthwise=True)
    assert (y.ne, y.nb) == ((7, 5, 3, 1), (12, 84, 4, 420))


def test_nodes_come_after_their_sources_depth_first(b):
    x, w = b.new_tensor("F32", 4), b.new_tensor("F32", 4)
    left, right = b.sqr(x), b.mul(x, w)
    top = b.add(left, right)
    assert node_order(top) == [left, right, top]
    assert node_order(right, top) == [right, left, top]
    assert message_order([right, top]) == [x, w, right, left, top]


def test_message_lists_the_view_source_after_the_sources(b):
    cache, values, ids = b.new_tensor("F32", 4, 4), b.new_tensor("F32", 4), b.new_tensor("I32", 1)
    view = b.view(cache, 4, 2)
    s = b.set_rows(view, values, ids)
    assert message_order([s]) == [values, ids, cache, view, s]


def test_graph_counts_readers_and_sets_flags_and_names(b):
    x = b.new_tensor("F32", 4)
    s = b.sqr(x)
    top = b.add(s, s)
    cast = b.cast(top, "F16")
    allocate([cast], Memory())
    graph = b.graph(cast)
    assert graph.nodes == [s, top, cast] == graph.work
    assert [t.use_count for t in (x, s, top, cast)] == [1, 2, 1, 1]
    assert [t.flags for t in (x, s)] == [0, FLAG_COMPUTE]
    assert [t.name for t in (x, s, top)] == ["leaf_0", "node_0", "node_1"]


def test_graph_refuses_unbound_nodes_and_shared_ids(b):
    x = b.new_tensor("F32", 4)
    with pytest.raises(LocalProtocolError, match="allocate"):
        b.graph(b.sqr(x))
    other = GraphBuilder().new_tensor("F32", 4)
    with pytest.raises(LocalProtocolError, match="unique"):
        b.graph(b.add(x, other))
    child = GraphBuilder(b)
    y = child.add(x, child.new_tensor("F32", 4))
    allocate([y], Memory())
    assert child.graph(y).nodes == [y]


def test_key_follows_meaning_and_not_names(b):
    x = b.new_tensor("F32", 4)
    y = b.scale(x, 2.0)
    memory = Memory()
    allocate([y], memory)
    key = b.graph(y).key
    assert len(key) == 32
    y.name, x.id = "other", 99
    assert b.graph(y).key == key
    y.offset += 32
    assert b.graph(y).key != key
    y.offset -= 32
    y.op_params = (bits(3.0), *y.op_params[1:])
    assert b.graph(y).key != key


def test_layout_aligns_every_offset(b):
    tensors = [b.new_tensor("F32", n) for n in (1, 9, 8)]
    assert layout(tensors, 32) == ([0, 32, 96], 128)
    assert layout(tensors, 32, alloc_size=lambda t, srcs: t.nbytes + 32) == ([0, 64, 160], 224)


def test_allocate_places_roots_once_and_views_in_them(b):
    memory = Memory()
    x = b.new_tensor("F32", 4, 4)
    assert allocate([x], memory) == "buffer1"
    v = b.view(x, 4, offset=16)
    y = b.sqr(v)
    assert allocate([y], memory) == "buffer2"
    assert (v.buffer, v.offset) == ("buffer1", 16)
    assert (x.buffer, y.buffer, memory.sizes) == ("buffer1", "buffer2", [64, 32])
    assert allocate([y], memory) is None


def test_a_very_long_chain_needs_no_recursion(b):
    t = b.new_tensor("F32", 1)
    for _ in range(5000):
        t = b.sqr(t)
    assert len(node_order(t)) == 5000
