import numpy as np

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import RAW_DTYPE, raw_layout, raw_view


def test_plain_types_have_their_own_dtype():
    assert {name: d.itemsize for name, d in RAW_DTYPE.items()} == {
        t.name: t.type_size for t in TYPES.values() if t.blck_size == 1
    }


def test_a_permuted_view():
    memory = np.arange(64, dtype=np.uint8)
    t = Tensor(1, TYPES["I32"], (3, 4, 1, 1), (16, 4, 48, 48), offset=8)
    view = raw_view(t, memory)
    assert view.shape == (1, 1, 4, 3)
    assert view[0, 0, 1, 2] == memory[8 + 4 + 32 :][:4].view("<i4")[0]
    view[0, 0, 0, 0] = -1
    assert memory[8:12].tolist() == [255] * 4


def test_quantized_rows_are_bytes():
    dtype, shape, strides = raw_layout(TYPES["Q4_0"], (64, 2, 3, 1), (18, 40, 80, 240))
    assert (dtype, shape, strides) == (np.dtype(np.uint8), (1, 3, 2, 36), (240, 80, 40, 1))
