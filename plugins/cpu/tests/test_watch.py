"""A record that would run for hours ends soon after should_stop says so, and its results are no success."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ggmlrpc_cpu.device import CpuDevice
from ggmlrpc_cpu.plan import CompiledStage
from ggmlrpc_cpu.record import ERROR_STOP
from ggmlrpc_cpu.watch import Watch

from ggmlrpc_core.errors import GraphStopped, OutOfDeviceMemory
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.tensor import FLAG_COMPUTE, Graph, Tensor

ENDLESS = 1 << 40
"""Rows; they are all in one place, so they take no memory."""


class Answers:
    """False until it has been asked `n` times; then True, or `fault` is raised."""

    def __init__(self, n: int, fault: Exception | None = None) -> None:
        self.left, self.fault = n, fault

    def __call__(self) -> bool:
        self.left -= 1
        if self.left <= 0 and self.fault is not None:
            raise self.fault
        return self.left <= 0


def stretched(tensor: Tensor, **changes: object) -> Tensor:
    """The tensor with ENDLESS rows that are all in one place."""
    ne = (tensor.ne[0], ENDLESS, 1, 1)
    return replace(tensor, ne=ne, nb=(tensor.nb[0], 0, 0, 0), flags=FLAG_COMPUTE, **changes)  # type: ignore[arg-type]


def product(device: CpuDevice, ggml_type: str = "F32") -> Graph:
    """MUL_MAT of 64 rows with endless columns."""
    b = GraphBuilder()
    weights, values = b.new_tensor(ggml_type, 256, 64), b.new_tensor("F32", 256, 1)
    out = b.mul_mat(weights, values)
    allocate([out], device)
    return Graph([stretched(out, src=(weights, stretched(values)))])


def scaling(device: CpuDevice) -> Graph:
    """SCALE of endless rows."""
    b = GraphBuilder()
    x = b.new_tensor("F32", 4096, 1)
    out = b.scale(x, 2.0)
    allocate([out], device)
    return Graph([stretched(out, src=(stretched(x),))])


def attention(device: CpuDevice) -> Graph:
    """FLASH_ATTN_EXT over endless K and V."""
    b = GraphBuilder()
    q, k, v = (b.new_tensor("F32", 64, 1, 1) for _ in range(3))
    out = b.flash_attn_ext(q, k, v, scale=1.0)
    allocate([out], device)
    return Graph([replace(out, flags=FLAG_COMPUTE, src=(q, stretched(k), stretched(v)))])


@pytest.mark.parametrize("make", [product, scaling, attention])
def test_an_endless_record_stops(device, make):
    made = device.prepare(make(device))
    assert [type(stage) for stage in made.plan.stages][:1] == [CompiledStage]
    answers = Answers(3)
    with pytest.raises(GraphStopped):
        made.run(answers)
    assert answers.left == 0, "it was asked again after it had said stop"


def test_the_device_works_after_a_stop(device):
    with pytest.raises(GraphStopped):
        device.prepare(product(device)).run(Answers(2))
    b = GraphBuilder()
    x = b.new_tensor("F32", 8)
    out = b.scale(x, 2.0, bias=1.0)
    allocate([out], device)
    device.prepare(b.graph(out)).run(lambda: False)
    got = out.buffer.memory[out.offset : out.offset + out.nbytes].view(np.float32)
    assert (got == 1).all()


def test_what_should_stop_raises_ends_the_run(device):
    fault = ValueError("asked in vain")
    with pytest.raises(ValueError, match="asked in vain"):
        device.prepare(product(device)).run(Answers(2, fault))


def test_columns_that_are_not_there_get_no_memory(device):
    with pytest.raises(OutOfDeviceMemory, match="MUL_MAT: working memory is"):
        b = GraphBuilder()
        weights, values = b.new_tensor("F16", 64, 64), b.new_tensor("F16", 64, 1)
        out = b.mul_mat(weights, values)
        allocate([out], device)
        device.prepare(Graph([stretched(out, src=(weights, stretched(values)))]))


def test_a_run_that_ended_is_left_alone():
    watch, error = Watch(), np.zeros(4, np.int64)
    run = (lambda: True, error)
    watch.begin(*run)
    seen = watch._run
    watch.end()
    watch._ask(seen)
    assert error[ERROR_STOP] == 0
    watch.close()
