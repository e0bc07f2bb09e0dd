import struct

import pytest

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, Graph, Tensor, contiguous_nb, nbytes_of


@pytest.mark.parametrize(
    ("name", "ne", "nb", "nbytes"),
    [
        ("F32", (3, 2, 1, 1), (4, 12, 24, 24), 24),
        ("F32", (3, 2, 1, 1), (4, 100, 0, 0), 112),
        ("F32", (3, 0, 1, 1), (4, 12, 0, 0), 0),
        ("F32", (3, 2, 1, 1), (0, 0, 0, 0), 4),
        ("Q4_0", (64, 2, 1, 1), (18, 36, 72, 72), 72),
        ("Q4_0", (64, 2, 1, 1), (18, 50, 100, 100), 86),
        ("F16", (1, 1, 1, 5), (2, 2, 2, 10), 42),
    ],
)
def test_nbytes(name, ne, nb, nbytes):
    assert nbytes_of(TYPES[name], ne, nb) == nbytes


def test_contiguous_strides():
    assert contiguous_nb(TYPES["Q4_K"], (512, 2, 3, 4)) == (144, 288, 576, 1728)


@pytest.mark.parametrize(
    ("ne", "nb", "contiguous"),
    [
        ((4, 3, 2, 1), (4, 16, 48, 96), True),
        ((4, 3, 2, 1), (4, 16, 48, 7), True),
        ((4, 1, 2, 1), (4, 999, 16, 32), True),
        ((1, 3, 1, 1), (999, 4, 12, 12), True),
        ((4, 3, 2, 1), (4, 20, 60, 120), False),
        ((4, 3, 2, 1), (8, 32, 96, 192), False),
        ((3, 4, 1, 1), (16, 4, 48, 48), False),
    ],
)
def test_contiguous(ne, nb, contiguous):
    assert Tensor(1, TYPES["F32"], ne, nb).contiguous is contiguous


def test_params_are_bits():
    bits = struct.unpack("<i", struct.pack("<f", 1e-5))[0]
    t = Tensor(1, TYPES["F32"], (1, 1, 1, 1), (4, 4, 4, 4), op_params=(bits, -3) + (0,) * 14)
    assert t.f32(0) == struct.unpack("<f", struct.pack("<f", 1e-5))[0]
    assert t.i32(1) == -3


def test_work_leaves_out_views_empty_and_unflagged():
    def node(op, ne=(1, 1, 1, 1), flags=FLAG_COMPUTE):
        return Tensor(1, TYPES["F32"], ne, (4, 4, 4, 4), op=op, flags=flags)

    nodes = [
        node("ADD"),
        node("VIEW"),
        node("ADD", (1, 0, 1, 1)),
        node("ADD", flags=0),
        node("MUL"),
    ]
    assert Graph(nodes).work == [nodes[0], nodes[4]]
