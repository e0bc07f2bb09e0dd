"""Every op of the table on random nodes, anywhere in memory, against an evaluation in double (tests/oracle)."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.forms import FORMS, copy_pairs
from oracle.shapes import Form, HypothesisDraw, RandomDraw, Source
from oracle.table import ORACLE
from oracle.trial import Trial

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.ops import OPS
from ggmlrpc_core.testing.host import host_array
from ggmlrpc_core.testing.reference import ReferenceDevice

QUICK = settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MANY = 150
COMPUTED = sorted(name for name, op in OPS.items() if op.compute is not None)


def hold(trial: Trial) -> None:
    """Run a node twice from the same bytes: equal bits, and near enough to the evaluation in double."""
    device = ReferenceDevice()
    graph, buffer = trial.bind(device)
    before = trial.bytes_before(buffer.size)
    runs = []
    for _ in range(2):
        buffer.memory[:] = before
        device.prepare(graph).run(lambda: False)
        runs.append(buffer.memory.copy())
    assert np.array_equal(*runs), "two runs of one graph gave different bits"
    trial.judge(before, runs[0])


def test_every_computed_op_is_drawn_and_evaluated():
    assert sorted(FORMS) == sorted(ORACLE) == COMPUTED


@pytest.mark.parametrize("name", COMPUTED)
@given(st.data())
@QUICK
def test_reference_ops_agree_with_double(name, data):
    draw = HypothesisDraw(data)
    hold(Trial(FORMS[name](draw), draw))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPUTED)
def test_reference_ops_agree_with_double_on_many(name):
    for seed in range(MANY):
        draw = RandomDraw(seed)
        hold(Trial(FORMS[name](draw), draw))


@pytest.mark.parametrize(
    "name", ["CPY", *(pytest.param(n, marks=pytest.mark.slow) for n in ("CONT", "DUP"))]
)
def test_every_pair_of_types_is_copied(name):
    for i, (a, y) in enumerate(copy_pairs()):
        ne = (max(TYPES[a].blck_size, TYPES[y].blck_size), 2, 1, 2)
        form = Form(name, y, ne, [Source(a, ne)] + [Source(y, ne)] * (name == "CPY"), nmse=0.0)
        hold(Trial(form, RandomDraw(i), special=False))


@pytest.mark.parametrize("name", COMPUTED)
def test_a_node_without_elements_does_nothing(name):
    """Every extent of 0 at once: nodes with one are skipped, whatever their op."""
    draw = RandomDraw(1)
    form = FORMS[name](draw)
    b, device = GraphBuilder(), ReferenceDevice()
    sources = [None if s is None else b.new_tensor(s.type, *s.ne) for s in form.src]
    for axis in range(4):
        ne = [*form.ne, *(1,) * (4 - len(form.ne))]
        ne[axis] = 0
        node = b.node(form.op, form.type, ne, src=sources, params=form.params)
        buffer = allocate([node], device) or node.buffer
        buffer.memory[:] = 0xFF
        device.prepare(b.graph(node)).run(lambda: False)
        assert (buffer.memory == 0xFF).all()
        for t in (node, *filter(None, sources)):
            t.buffer = None


BIG = 3 << 30
FAR = (1 << 31) + 4096
"""An offset in bytes, and for I8 in elements, that does not fit 32 bits with a sign."""


def far_view(b, root, kind, *ne, step, offset=64):
    """Rows `step` bytes apart in the bytes of a large tensor."""
    size = TYPES[kind].type_size
    view = b.view_of(root, "VIEW", ne=(1,), nb=(1, 1, 1, 1), offset=offset, src=[root])
    view.type, view.ne, view.nb = (
        TYPES[kind],
        (*ne, *(1,) * (4 - len(ne))),
        (size, step, step, step),
    )
    return view


@pytest.mark.parametrize("kind", ["F32", "I8", "Q8_0"])
def test_rows_beyond_two_gigabytes(kind):
    """Memory that nobody touches costs nothing: three GiB of which a few pages are used."""
    b, device = GraphBuilder(), ReferenceDevice(total=BIG + (1 << 20))
    root = b.new_tensor("I8", BIG)
    near, far = (far_view(b, root, kind, 32, 2, step=step) for step in (512, FAR))
    copied = b.cont(far)
    back = b.node("CPY", kind, far.ne, src=[near, far], nb=far.nb)
    back.view_src, back.view_offs = root, far.view_offs + 1024
    allocate([copied, back], device)
    rng = np.random.default_rng(1)
    for t in (near, far):
        raw = host_array(t)
        raw[...] = rng.integers(0, 50, raw.shape)
    device.prepare(b.graph(copied, back)).run(lambda: False)
    np.testing.assert_array_equal(host_array(copied), host_array(far))
    np.testing.assert_array_equal(host_array(back), host_array(near))


def test_row_numbers_beyond_two_gigabytes():
    b, device = GraphBuilder(), ReferenceDevice(total=BIG + (1 << 20))
    root = b.new_tensor("I8", BIG)
    table = far_view(b, root, "F32", 16, 3, step=1 << 30)
    rows, ids = b.new_tensor("F32", 16, 2), b.new_tensor("I64", 2)
    chosen = b.new_tensor("I32", 2)
    stored = b.set_rows(table, rows, ids)
    read = b.get_rows(stored, chosen)
    allocate([read], device)
    host_array(rows)[...] = np.arange(32).reshape(1, 1, 2, 16)
    host_array(ids)[...], host_array(chosen)[...] = [2, 0], [0, 2]
    device.prepare(b.graph(read)).run(lambda: False)
    np.testing.assert_array_equal(host_array(read), host_array(rows)[:, :, ::-1])
    assert not host_array(table)[0, 0, 1].any()
