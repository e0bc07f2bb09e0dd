"""Base of the builder: ids, extents, views, parameters."""

from __future__ import annotations

import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.graph.build import GraphBuilder
from ggmlrpc_core.graph.build_base import pack_params


@pytest.fixture
def b():
    return GraphBuilder()


def test_new_tensor_is_contiguous_and_has_an_id(b):
    t = b.new_tensor("Q4_0", 64, 3, name="w")
    assert (t.ne, t.nb, t.op, t.id) == ((64, 3, 1, 1), (18, 36, 108, 108), "NONE", 1)
    assert b.new_tensor("F32", 1).id == 2


@pytest.mark.parametrize("ne", [(33,), (0x40, -1), (), (32, 1, 1, 1, 1)])
def test_new_tensor_refuses_extents(b, ne):
    with pytest.raises(LocalProtocolError):
        b.new_tensor("Q8_0", *ne)


def test_views_of_views_name_the_root(b):
    a = b.new_tensor("F32", 8, 8)
    v = b.view(b.view(a, 8, 4, offset=32), 8, 2, offset=64)
    assert (v.view_src, v.view_offs) == (a, 96)


def test_parameters_are_integers_or_float_bits():
    assert pack_params({1: 7, 2: 1.0, 15: -1}) == (0, 7, 0x3F800000, *[0] * 12, -1)


def test_a_view_of_a_bound_tensor_is_bound(b):
    a = b.new_tensor("F32", 8)
    a.buffer, a.offset = "memory", 64
    v = b.view_of(a, ne=(2,), offset=8)
    assert (v.buffer, v.offset, v.op) == ("memory", 72, "NONE")
