import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.table import Nodes, TensorTable
from ggmlrpc_core.graph.tensor import Tensor, contiguous_nb


def tensor(name, ggml_type="F32", ne=(4, 3, 1, 1), **kwargs):
    t = TYPES[ggml_type]
    return Tensor(1, t, ne, contiguous_nb(t, ne), name=name, **kwargs)


A, B = tensor("a"), tensor("b", "Q8_0", (64, 2, 1, 1))
N1 = tensor("n1", op="ADD", src=(A, B), op_params=(7, 1065353216) + (0,) * 14)
N2 = tensor("n2", op="ADD", src=(B,))
NODES = Nodes(TensorTable.from_tensors([A, B, N1, N2]), np.array([2, 3]))


def test_columns():
    assert NODES.ne.tolist() == [[4, 3, 1, 1]] * 2
    assert NODES.src(0).ne.tolist() == [[4, 3, 1, 1], [64, 2, 1, 1]]
    assert NODES.src(1).present.tolist() == [True, False]
    assert NODES.src(1).ne.tolist() == [[64, 2, 1, 1], [0, 0, 0, 0]]
    assert NODES.src(0).blck_size.tolist() == [1, 32]
    assert NODES.src(0).is_type("Q8_0", "Q4_0").tolist() == [False, True]
    assert NODES.src(0).nelements.tolist() == [12, 128]
    assert NODES.i32(0).tolist() == [7, 0]
    assert NODES.f32(1).tolist() == [1.0, 0.0]


def test_contiguous_is_that_of_a_tensor():
    strided = Tensor(1, TYPES["F32"], (4, 3, 2, 1), (4, 20, 60, 120))
    permuted = Tensor(1, TYPES["F32"], (3, 4, 1, 1), (16, 4, 48, 48))
    many = [A, B, strided, permuted]
    columns = Nodes(TensorTable.from_tensors(many), np.arange(4))
    assert columns.contiguous.tolist() == [t.contiguous for t in many] == [True, True, False, False]
    assert columns.rows_contiguous.tolist() == [True, True, True, False]


def test_require_names_the_first_node():
    NODES.require(np.array([True, True]), "x", NODES.ne[:, 0], "anything")
    with pytest.raises(BadGraph) as caught:
        NODES.require(NODES.src(0).ne[:, 0] == 4, "src[0].ne[0]", NODES.src(0).ne[:, 0], "4")
    assert str(caught.value) == "GRAPH_COMPUTE: src[0].ne[0] is 64, expected 4 [ADD 'n2']"
