"""The rest of the ops: result shapes and op_params."""

from __future__ import annotations

import pytest

from ggmlrpc_core.errors import LocalProtocolError
from ggmlrpc_core.graph.build import GraphBuilder
from ggmlrpc_core.graph.tensor import FLAG_PARAM


@pytest.fixture
def b():
    return GraphBuilder()


def test_shapes(b):
    a = b.new_tensor("F32", 9, 7, 3, 2)
    assert b.arange(0, 5, 2).ne == (3, 1, 1, 1)
    assert b.timestep_embedding(b.new_tensor("F32", 5), 8, 100).ne == (8, 5, 1, 1)
    assert b.diag(b.new_tensor("F32", 7, 1, 3)).ne == (7, 7, 3, 1)
    assert (b.count_equal(a, a).type.name, b.count_equal(a, a).ne) == ("I64", (1, 1, 1, 1))
    assert b.ssm_conv(b.new_tensor("F32", 9, 8, 2), b.new_tensor("F32", 4, 8)).ne == (8, 6, 2, 1)
    assert b.repeat_back(a, (3, 7)).ne == (3, 7, 1, 1)


def test_recurrent_results_hold_outputs_and_states(b):
    k = b.new_tensor("F32", 16, 2, 6)
    state = b.new_tensor("F32", 512, 2)
    assert b.rwkv_wkv6(k, k, k, tf=k, td=k, state=state).ne == (32, 6 + 32, 1, 1)
    v, state = b.new_tensor("F32", 16, 4, 5, 2), b.new_tensor("F32", 16, 16, 4, 2)
    y = b.gated_delta_net(v, v, v, g=v, beta=v, state=state, slots=3)
    assert (y.ne, y.op_params[0]) == ((64, 10 + 96, 1, 1), 3)


def test_optimizers_write_the_weights(b):
    w = b.new_tensor("F32", 4)
    step = b.opt_step_sgd(w, w, b.new_tensor("F32", 2))
    assert (step.view_src, w.flags) == (w, FLAG_PARAM)


def test_window_parameters(b):
    a = b.new_tensor("F32", 8, 6, 2)
    y = b.window("ACC", a, b.new_tensor("F32", 5, 3), nb=a.nb[1:], offset=40)
    assert (y.op, y.ne, y.op_params[:5]) == ("ACC", a.ne, (32, 192, 384, 40, 0))
    with pytest.raises(LocalProtocolError, match="ADD1"):
        b.add1(a, a)
