"""CPY, CONT, DUP and the windows SET and ACC."""

import numpy as np
import pytest

from ggmlrpc_core import quants
from ggmlrpc_core.ops.declare import ENCODABLE


@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"])
@pytest.mark.parametrize("op", ["CONT", "DUP", "CPY"])
def test_equal_types_are_copied_bit_for_bit(bench, op, type):
    a = bench.leaf(type, 5, 4, 3, data=bench.rng.integers(-9, 9, 60))
    turned = bench.transposed(a, 2, 0, 1, 3)
    found = bench.run(bench.node(op, type, turned.ne, turned))
    assert np.array_equal(found, bench.numbers(turned))


def test_quantized_rows_are_copied_as_bytes(bench):
    a = bench.leaf("Q4_0", 64, 4, 3)
    turned = bench.transposed(a, 0, 2, 1, 3)
    node = bench.node("CONT", "Q4_0", turned.ne, turned)
    bench.run(node)
    rows = a.buffer.reshape(3, 4, 36).swapaxes(0, 1)
    assert np.array_equal(node.buffer.reshape(4, 3, 36), rows)
    node = bench.node("CPY", "Q4_0", (32, 24), a)
    bench.run(node)
    assert np.array_equal(node.buffer, a.buffer)


def test_shapes_may_differ_when_the_elements_agree(bench):
    a = bench.leaf("F32", 6, 4)
    turned = bench.transposed(a, 1, 0, 2, 3)
    found = bench.run(bench.node("CPY", "F16", (3, 2, 4), turned))
    expected = bench.numbers(a)[0, 0].T.ravel().astype(np.float16)
    assert np.array_equal(found.ravel(), expected.astype(np.float64))


CONVERSIONS = [
    ("F32", "F16", 1e-6),
    ("F32", "BF16", 1e-5),
    ("F16", "BF16", 1e-5),
    ("BF16", "F16", 1e-6),
    ("F16", "F32", 0.0),
    ("BF16", "F32", 0.0),
    ("Q8_0", "F32", 0.0),
    ("IQ4_NL", "F32", 0.0),
]


@pytest.mark.parametrize(("type", "to", "nmse"), CONVERSIONS)
def test_conversions(bench, assert_close, type, to, nmse):
    a = bench.leaf(type, 256, 3)
    assert_close(bench.run(bench.node("CPY", to, a.ne, a)), bench.numbers(a), nmse)


@pytest.mark.parametrize("to", ENCODABLE)
def test_quantization(bench, to):
    a = bench.leaf("F32", 256, 3)
    node = bench.node("CPY", to, a.ne, a)
    bench.run(node)
    values = bench.numbers(a).astype(np.float32)
    assert np.array_equal(node.buffer, quants.from_f32(np, values, node.type).ravel())


def test_a_cast_names_itself_as_destination(bench):
    a = bench.leaf("F32", 4, 2)
    node = bench.node("CPY", "F16", a.ne, a)
    node.src = (a, node)
    assert np.array_equal(bench.run(node), bench.numbers(a).astype(np.float16).astype(np.float64))


def test_floats_to_integers_drop_the_fraction(bench):
    a = bench.leaf("F32", 4, data=[1.9, -1.9, 0.5, 100.0])
    assert bench.run(bench.node("CPY", "I32", a.ne, a)).ravel().tolist() == [1, -1, 0, 100]
    b = bench.leaf("I32", 2, data=[7, -3])
    assert bench.run(bench.node("CPY", "F32", b.ne, b)).ravel().tolist() == [7.0, -3.0]


def test_copy_into_a_view(bench):
    cache = bench.leaf("F32", 6, 3, data=np.zeros(18))
    a = bench.leaf("F32", 2, 3, data=[1, 2, 3, 4, 5, 6])
    destination = bench.part(cache, 2, 3, nb=(4, 24, 72, 72), offset=8)
    node = bench.node(
        "CPY", "F32", (2, 3), a, destination, nb=destination.nb, buffer=cache.buffer, offset=8
    )
    bench.run(node)
    assert bench.numbers(cache)[0, 0].tolist() == [
        [0, 0, 1, 2, 0, 0],
        [0, 0, 3, 4, 0, 0],
        [0, 0, 5, 6, 0, 0],
    ]


def test_overlapping_copy_reads_everything_first(bench):
    base = bench.leaf("F32", 6, data=np.arange(6))
    source, target = bench.part(base, 4, nb=(4, 16, 16, 16)), (4, 16, 16, 16)
    bench.run(bench.node("CPY", "F32", (4,), source, nb=target, buffer=base.buffer, offset=8))
    assert bench.numbers(base).ravel().tolist() == [0, 1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("type", "to"),
    [("Q4_0", "Q8_0"), ("F32", "IQ1_S"), ("F32", "I64"), ("I8", "F32"), ("F64", "F32")],
)
def test_refused_conversions(bench, type, to):
    node = bench.node("CPY", to, (256,), bench.tensor(type, 256))
    assert bench.refusal(node) == (
        f"GRAPH_COMPUTE: type is {to}, expected a type that src[0] can be converted to [CPY 'y']"
    )


def test_refused_element_counts(bench):
    node = bench.node("CPY", "F32", (3, 3), bench.tensor("F32", 2, 4))
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: ne is [3, 3, 1, 1], expected as many elements as src[0] [CPY 'y']"
    )


def window_of(a, b, nb, offset):
    """Flat element of a for each element of b."""
    for i3, i2, i1, i0 in np.ndindex(*b.ne[::-1]):
        yield (offset + i3 * nb[2] + i2 * nb[1] + i1 * nb[0]) // 4 + i0, (i3, i2, i1, i0)


@pytest.mark.parametrize("op", ["SET", "ACC"])
@pytest.mark.parametrize("in_place", [False, True])
def test_windows(bench, op, in_place):
    a, b = bench.leaf("F32", 6, 5, 4, 3), bench.leaf("F32", 3, 2, 2, 2)
    nb, offset = a.nb[1:], 4 + a.nb[1] + a.nb[2]
    expected = bench.numbers(a).astype(np.float32).ravel()
    for at, i in window_of(a, b, nb, offset):
        value = np.float32(bench.numbers(b)[i])
        expected[at] = value if op == "SET" else expected[at] + value
    params = dict(enumerate((*nb, offset, int(in_place))))
    memory = {"buffer": a.buffer} if in_place else {}
    found = bench.run(bench.node(op, "F32", a.ne, a, b, params=params, **memory))
    assert np.array_equal(found.ravel(), expected)


def test_a_window_may_reach_the_last_element(bench):
    a, b = bench.leaf("I32", 6, data=np.zeros(6)), bench.leaf("I32", 2, data=[8, 9])
    node = bench.node("SET", "I32", a.ne, a, b, params={0: 24, 1: 24, 2: 24, 3: 16})
    assert bench.run(node).ravel().tolist() == [0, 0, 0, 0, 8, 9]


WINDOW_REFUSALS = [
    ((-24, 24, 24, 0), "nb1, nb2, nb3, offset is [-24, 24, 24, 0], expected none below 0"),
    ((24, 24, 24, -4), "nb1, nb2, nb3, offset is [24, 24, 24, -4], expected none below 0"),
    (
        (24, 24, 24, 2),
        "nb1, nb2, nb3, offset is [24, 24, 24, 2], expected multiples of the element size",
    ),
    ((24, 24, 24, 92), "window end is 124, expected at most the bytes of src[0]"),
    ((24, 24, 24, 68), "window end is 100, expected at most the bytes of src[0]"),
    ((96, 24, 24, 0), "window end is 104, expected at most the bytes of src[0]"),
    ((2**31 - 4, 24, 24, 0), "window end is 2147483652, expected at most the bytes of src[0]"),
]


@pytest.mark.parametrize("op", ["SET", "ACC"])
@pytest.mark.parametrize(("params", "sentence"), WINDOW_REFUSALS)
def test_refused_windows(bench, op, params, sentence):
    a, b = bench.leaf("F32", 6, 4), bench.leaf("F32", 2, 2)
    node = bench.node(op, "F32", a.ne, a, b, params=dict(enumerate(params)))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [{op} 'y']"
    bench.check(bench.node(op, "F32", a.ne, a, b, params={0: 24, 1: 24, 2: 24, 3: 64}))


def test_both_sources_of_a_window_have_one_type(bench):
    node = bench.node("SET", "F32", (4,), bench.leaf("F32", 4), bench.leaf("I32", 2))
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[1].type is I32, expected the type of src[0] [SET 'y']"
    )


def test_the_result_of_a_window_has_no_gaps(bench):
    a = bench.transposed(bench.leaf("F32", 4, 6), 1, 0, 2, 3)
    node = bench.node("ACC", "F32", a.ne, a, bench.leaf("F32", 2), params={0: 24, 1: 24, 2: 24})
    assert bench.refusal(node) == (
        "GRAPH_COMPUTE: src[0].nb is [16, 4, 96, 96], expected strides without gaps [ACC 'y']"
    )
