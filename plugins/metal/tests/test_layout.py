"""What stages read and write, without computing."""

from __future__ import annotations

from ggmlrpc_metal.layout import Read, StageBuilder, root_of

from ggmlrpc_core.graph.build import GraphBuilder
from ggmlrpc_core.graph.tensor import Tensor

BUFFER = object()


class Placed(GraphBuilder):
    """A builder whose tensors are given places one by one."""

    def at(self, offset: int, tensor: Tensor) -> Tensor:
        tensor.buffer, tensor.offset = BUFFER, offset
        return tensor


def outputs(builder: StageBuilder, dropped: tuple[Tensor, ...] = ()) -> list[tuple[int, int, int]]:
    spec = builder.finish(lambda node: node not in dropped)
    return sorted((one.lo, one.hi, one.slot) for one in spec.outputs)


def test_a_result_is_read_from_its_value_and_a_leaf_from_memory():
    b, stage = Placed(), StageBuilder()
    x = b.at(0, b.new_tensor("F32", 4))
    y = b.at(64, b.scale(x, 2.0))
    z = b.at(128, b.add(y, x))
    assert stage.add(y, None) and stage.add(z, None)
    spec = stage.finish(lambda node: True)
    assert [(i.lo, i.hi, i.dtype, i.shape) for i in spec.inputs] == [
        (0, 16, "float32", (1, 1, 1, 4))
    ]
    first, second = spec.steps
    leaf = Read(-1, "float32", (1, 1, 1, 4), None, 0, True)
    assert first.reads == (leaf,)
    assert second.reads == (Read(0, "float32", (1, 1, 1, 4), None, 0, False), leaf)


def test_a_result_over_older_ones_leaves_their_visible_parts():
    b, stage = Placed(), StageBuilder()
    x = b.at(512, b.new_tensor("F32", 8))
    for offset in (0, 16, 4):
        assert stage.add(b.at(offset, b.scale(x, 2.0)), None)
    assert outputs(stage) == [(0, 4, 0), (4, 36, 2), (36, 48, 1)]


def test_results_that_nobody_needs_are_left_out_with_what_they_hide():
    b, stage = Placed(), StageBuilder()
    x = b.at(512, b.new_tensor("F32", 8))
    older, newer = b.at(0, b.scale(x, 2.0)), b.at(0, b.scale(x, 3.0))
    assert stage.add(older, None) and stage.add(newer, None)
    assert outputs(stage, (newer,)) == []


def test_a_read_of_parts_of_two_results_ends_the_stage():
    b, stage = Placed(), StageBuilder()
    x = b.at(512, b.new_tensor("F32", 8))
    assert stage.add(b.at(0, b.scale(x, 2.0)), None)
    across = b.at(16, b.new_tensor("F32", 8))
    reader = b.at(128, b.scale(across, 2.0))
    assert not stage.add(reader, None)
    assert len(stage) == 1 and StageBuilder().add(reader, None)


def test_a_write_into_a_view_makes_a_new_value_of_the_whole_tensor():
    b, stage = Placed(), StageBuilder()
    table = b.at(0, b.new_tensor("F16", 8, 4))
    part = b.at(16, b.view(table, 8, 2, nb=[16], offset=16))
    node = b.at(16, b.cpy(b.at(256, b.new_tensor("F32", 8, 2)), part))
    assert root_of(node) is table
    assert stage.add(node, None)
    spec = stage.finish(lambda node: True)
    update = spec.steps[0].update
    assert (update.offset, update.base.shape, update.base.slot) == (8, (32,), -2)
    assert [(one.lo, one.hi) for one in spec.outputs] == [(0, 64)]


def test_bytes_that_split_an_element_are_given_as_bytes():
    b, stage = Placed(), StageBuilder()
    x = b.at(512, b.new_tensor("F32", 4))
    small = b.at(1024, b.new_tensor("I8", 4))
    assert stage.add(b.at(0, b.scale(x, 2.0)), None)
    assert stage.add(b.at(6, b.cont(small)), None)
    spec = stage.finish(lambda node: True)
    assert sorted((o.lo, o.hi, o.start, o.stop, o.as_bytes) for o in spec.outputs) == [
        (0, 6, 0, 6, True),
        (6, 10, 0, 4, False),
        (10, 16, 10, 16, True),
    ]


def test_a_chain_of_views_that_never_ends_is_not_followed():
    b = Placed()
    x = b.at(0, b.new_tensor("F32", 4))
    x.view_src = x
    assert root_of(x) is x


def test_an_update_of_a_part_of_a_result_hides_nothing_beside_it():
    b, stage = Placed(), StageBuilder()
    x = b.at(512, b.new_tensor("F32", 16))
    assert stage.add(b.at(0, b.scale(x, 2.0)), None)  # [0, 64)
    assert stage.add(b.at(48, b.scale(x, 3.0)), None)  # [48, 112)
    part = b.at(0, b.new_tensor("F32", 8))
    assert stage.add(b.at(0, b.scale(part, 2.0, inplace=True)), None)  # [0, 32)
    assert outputs(stage) == [(0, 32, 2), (32, 48, 0), (48, 112, 1)]


def test_a_long_graph_is_planned_in_time():
    """Half a minute where the time grows with the square of the nodes."""
    b, stage = Placed(), StageBuilder()
    x = b.at(0, b.new_tensor("F32", 1))
    for i in range(20_000):
        assert stage.add(b.at(128 * i, b.scale(x, 2.0)), None)
    assert len(outputs(stage)) == 20_000
