"""GET_ROWS, SET_ROWS, copies and row encoders against the reference ops."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.errors import OutOfBounds
from ggmlrpc_core.graph.build import GraphBuilder, allocate

FEW = ("F32", "F16", "Q8_0", "Q4_0")
ENCODED = (*FEW, "BF16", "Q4_1", "Q5_0", "Q5_1")


def slow_unless(often: tuple[str, ...], names: tuple[str, ...]) -> list[object]:
    return [n if n in often else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", slow_unless(FEW, (*ENCODED, "I32")))
def test_get_rows(compare, name):
    ids = np.array([[[3, 0, 6, 6, 1]]], np.int32)
    compare(
        lambda b: b.get_rows(b.new_tensor(name, 64, 7), b.new_tensor("I32", 5, name="ids")),
        ids={"ids": ids},
        nmse=0,
    )


def test_get_rows_of_batches(compare):
    ids = np.array([[[0, 2], [1, 1], [2, 0]], [[1, 0], [0, 0], [2, 2]]], np.int32)[None]
    compare(
        lambda b: b.get_rows(
            b.new_tensor("F32", 33, 3, 3, 2), b.new_tensor("I32", 2, 3, 2, name="ids")
        ),
        ids={"ids": ids},
        nmse=0,
    )


@pytest.mark.parametrize("name", slow_unless(FEW, ENCODED))
@pytest.mark.parametrize("id_type", ["I64", "I32"])
def test_set_rows(compare, name, id_type):
    def build(b: GraphBuilder):
        values, target = b.new_tensor("F32", 320, 4, 2), b.new_tensor(name, 320, 9, 2)
        return b.set_rows(target, values, b.new_tensor(id_type, 4, 1, name="ids"))

    compare(build, ids={"ids": np.array([8, 2, 5, 2])}, nmse=0)


def test_set_rows_of_single_elements(compare):
    def build(b: GraphBuilder):
        values, target = b.new_tensor("F32", 1, 50), b.new_tensor("F16", 1, 70)
        return b.set_rows(target, values, b.new_tensor("I64", 50, name="ids"))

    compare(build, ids={"ids": np.arange(50)[::-1]}, nmse=0)


@pytest.mark.parametrize("found", [-1, 7])
def test_an_id_outside_is_reported_with_its_node(device, found):
    b = GraphBuilder()
    table, ids = b.new_tensor("F32", 8, 7), b.new_tensor("I32", 2)
    out = b.scale(b.get_rows(table, ids, name="pick"), 2.0)
    allocate([out], device)
    ids.buffer.memory[ids.offset : ids.offset + 8].view(np.int32)[:] = (0, found)
    with pytest.raises(OutOfBounds) as caught:
        device.prepare(b.graph(out)).run(lambda: False)
    expected = f"GET_ROWS: id is {found}, expected in [0, 7) [node 0 'pick']"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", slow_unless(("F16", "Q8_0"), ENCODED))
def test_cast_to(compare, name):
    compare(lambda b: b.cast(b.new_tensor("F32", 64, 5, 3), name), nmse=0)


def test_halves_in_q8_0_are_rounded_to_even_after_one_division(device):
    b = GraphBuilder()
    a = b.new_tensor("F32", 32, 100)
    out = b.cast(a, "Q8_0")
    allocate([out], device)
    largest = np.linspace(140, 150, 100, dtype=np.float32)[:, None]
    values = largest * np.resize(np.array([0.5, -0.5, 0.25, 1], np.float32), 32)
    a.buffer.memory[a.offset : a.offset + values.nbytes].view(np.float32)[:] = values.ravel()
    device.prepare(b.graph(out)).run(lambda: False)
    device.synchronize()
    blocks = out.buffer.memory[out.offset : out.offset + 3400].reshape(100, 34)
    expected = np.rint(values * (np.float32(127) / largest))
    np.testing.assert_array_equal(blocks[:, 2:].view(np.int8), expected)


@pytest.mark.parametrize("name", slow_unless(("F16",), ("F16", "BF16", "Q8_0", "Q4_0")))
def test_cast_from(compare, name):
    compare(lambda b: b.cast(b.new_tensor(name, 64, 5, 3), "F32"), nmse=0)


@pytest.mark.parametrize("name", ["F32", "F16"])
def test_cont_of_a_transposed_tensor(compare, name):
    compare(lambda b: b.cont(b.transpose(b.new_tensor(name, 19, 23, 2))), nmse=0)


def test_cont_of_a_permuted_tensor_takes_another_shape(compare):
    compare(lambda b: b.cont(b.permute(b.new_tensor("F32", 16, 6, 4), 0, 2, 1, 3), 64, 6), nmse=0)


def test_copy_of_a_transposed_tensor_into_half_precision(compare):
    def build(b: GraphBuilder):
        return b.cpy(b.transpose(b.new_tensor("F32", 19, 23)), b.new_tensor("F16", 23, 19))

    compare(build, nmse=0)


def test_a_long_copy_is_shared(compare):
    compare(lambda b: b.cont(b.new_tensor("F32", 4096, 33)), nmse=0)


def test_repeat(compare):
    compare(lambda b: b.repeat(b.new_tensor("F32", 5, 2, 1, 2), (15, 4, 3, 2)), nmse=0)


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_concat(compare, dim):
    def build(b: GraphBuilder):
        ne = [6, 5, 4, 3]
        more = list(ne)
        more[dim] += 2
        return b.concat(b.new_tensor("F32", *ne), b.new_tensor("F32", *more), dim)

    compare(build, nmse=0)
