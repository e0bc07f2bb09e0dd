"""A stage as a function on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_metal.device import MetalDevice
from ggmlrpc_metal.layout import StageBuilder
from ggmlrpc_metal.lower import StageFunction, _with_shared_constants

from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.host import HostDevice


def function(device: MetalDevice, *nodes: Tensor):
    """(function of one stage, the tensors that its inputs stand for, where each output lies)."""
    allocate(nodes, HostDevice())
    builder = StageBuilder()
    assert all(builder.add(node, None) for node in nodes)
    spec = builder.finish(lambda node: True)
    return StageFunction(device._mx, spec), spec


def test_of_equal_row_numbers_the_last_counts(device):
    mx = device._mx
    b = GraphBuilder()
    node = b.set_rows(b.new_tensor("F32", 2, 4), b.new_tensor("F32", 2, 3), b.new_tensor("I32", 3))
    made, spec = function(device, node)
    values, table = np.arange(6, dtype=np.float32).reshape(1, 1, 3, 2), np.full((1, 1, 4, 2), 9.0)
    by_dtype = {(1, 1, 3, 2): values, (1, 1, 4, 2): table, (1, 1, 1, 3): np.array([[[[2, 0, 2]]]])}
    inputs = [mx.array(by_dtype[i.shape], getattr(mx, i.dtype)) for i in spec.inputs]
    (result,), checks = made(inputs)
    assert checks == [] and [check.limit for check in spec.host_checks] == [4]
    assert result.tolist() == [[[[2, 3], [9, 9], [4, 5], [9, 9]]]]


def test_a_copy_of_memory_is_memory_of_its_own(device):
    mx = device._mx
    b = GraphBuilder()
    made, _ = function(device, b.cont(b.new_tensor("F32", 4)))
    source = mx.array([[[[1.0, -0.0, np.inf, np.nan]]]])
    (copy,), _ = made([source])
    mx.eval(copy, source)
    ours, theirs = np.asarray(copy), np.asarray(source)
    assert ours.ctypes.data != theirs.ctypes.data
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("low", [0, -3])
def test_ids_of_the_graph_are_bounded_and_told(device, low):
    mx = device._mx
    b = GraphBuilder()
    ids = b.cast(b.new_tensor("F32", 3), "I32")
    made, spec = function(device, ids, b.get_rows(b.new_tensor("F32", 2, 4), ids))
    arrays = {3: mx.array([[[[low, 1.0, 7.0]]]]), 2: mx.arange(8.0).reshape(1, 1, 4, 2)}
    outputs, checks = made([arrays.get(i.shape[-1], mx.zeros(i.shape)) for i in spec.inputs])
    assert [check.tolist() for check in checks] == [[low, 7]]
    assert [step.check for step in made.checked] == [(1, 4)]
    assert outputs[-1].tolist() == [[[[0, 1], [2, 3], [6, 7]]]]


def test_equal_constants_are_one_array(device):
    xp = _with_shared_constants(device._mx)
    one = xp.asarray(np.array([1, 2], np.int32))
    assert xp.asarray(np.array([1, 2], np.int32)) is one
    assert xp.asarray(np.array([1, 2], np.int64)) is not one
    assert xp.asarray(np.array([[1, 2]], np.int32)) is not one
    assert (xp.__name__, xp.exp) == ("mlx.core", device._mx.exp)


@pytest.mark.parametrize("op", ["CPY", "SET_ROWS"])
def test_a_write_over_a_whole_tensor_is_memory_of_its_own(device, op):
    """MLX hands on the new elements as they are when they are all of the result."""
    mx = device._mx
    b = GraphBuilder()
    values, target = b.new_tensor("F32", 4), b.new_tensor("F32", 4)
    if op == "CPY":
        node = b.cpy(values, target)
    else:
        node = b.set_rows(target, values, b.new_tensor("I32", 1))
    made, spec = function(device, node)
    inputs = [mx.zeros(i.shape, getattr(mx, i.dtype)) for i in spec.inputs]
    mx.eval(inputs)
    (result,), _ = made(inputs)
    mx.eval(result)
    address = np.asarray(result).ctypes.data
    assert address not in [np.asarray(one).ctypes.data for one in inputs]
