"""Images: result shapes and op_params."""

from __future__ import annotations

import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.graph.build import GraphBuilder


@pytest.fixture
def b():
    return GraphBuilder()


def test_shapes(b):
    img = b.new_tensor("F32", 9, 7, 3, 2)
    kernel = b.new_tensor("F16", 3, 3, 3, 4)
    assert b.conv_2d(kernel, img, stride=(2, 1), pad=(1, 0)).ne == (5, 5, 4, 2)
    assert b.im2col(kernel, img).ne == (27, 7, 5, 2)
    assert b.pool_2d(img, 0, k=(2, 2), stride=(2, 2), pad=(0.5, 0.0)).ne == (5, 3, 3, 2)
    assert b.win_part(b.new_tensor("F32", 4, 5, 6), 4).ne == (4, 4, 4, 4)
    assert b.conv_transpose_2d(kernel, b.new_tensor("F32", 4, 5, 4), stride=2).ne == (9, 11, 3, 1)


def test_volumes(b):
    kernel, data = b.new_tensor("F16", 3, 2, 2, 12), b.new_tensor("F32", 7, 6, 5, 8)
    y = b.conv_3d(kernel, data, 4, stride=(2, 1, 1), pad=(1, 0, 1))
    assert (y.ne, y.op_params[:12]) == ((4, 5, 6, 6), (2, 1, 1, 1, 0, 1, 1, 1, 1, 4, 2, 3))
    assert b.im2col_3d(kernel, data, 4).ne == (48, 5, 5, 8)
    with pytest.raises(LocalProtocolError, match="multiple of 5"):
        b.conv_3d(kernel, data, 5)


def test_channels_first_data_keeps_its_layout_in_a_depthwise_convolution(b):
    data = b.permute(b.new_tensor("F32", 3, 9, 7), 2, 0, 1, 3)
    y = b.conv_2d(b.new_tensor("F32", 3, 3, 1, 3), data, depthwise=True)
    assert (y.ne, y.nb) == ((7, 5, 3, 1), (12, 84, 4, 420))
