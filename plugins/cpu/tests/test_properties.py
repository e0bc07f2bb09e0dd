"""Compiled kernels on random nodes, anywhere in memory, against an evaluation in double (tests/oracle).

A quick run draws nodes of kernels that other tests compile too; `-m slow` draws many nodes of every op.
"""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_cpu.device import CpuDevice
from ggmlrpc_cpu.plan import HostStage
from oracle.forms import FORMS
from oracle.shapes import Form, RandomDraw, Source
from oracle.trial import Trial

from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import GraphBuilder, allocate
from ggmlrpc_core.graph.views import raw_view

BOUND = {"MUL_MAT": 5e-3, "MUL_MAT_ID": 5e-3, "FLASH_ATTN_EXT": 5e-4}
"""Ops whose kernels round a source to another type, as upstream does."""
QUICK = (
    "ADD", "SUB", "MUL", "SCALE", "CLAMP", "RMS_NORM", "NORM", "L2_NORM", "SUM_ROWS", "SOFT_MAX", "ROPE", "REPEAT",
    "PAD", "CONCAT", "ADD_ID",
)  # fmt: skip
TRIES, MANY, SIMPLE = 25, 200, 0.5


def hold(device: CpuDevice, trial: Trial, *, compiled: bool = True) -> bool:
    """Run a node twice from the same bytes and judge it; False when it is left to the reference ops."""
    graph, buffer = trial.bind(device)
    made = device.prepare(graph)
    if compiled and any(isinstance(stage, HostStage) for stage in made.plan.stages):
        buffer.free()
        return False
    before = trial.bytes_before(buffer.size)
    runs = []
    for _ in range(2):
        buffer.memory[:] = before
        made.run(lambda: False)
        runs.append(buffer.memory.copy())
    assert np.array_equal(*runs), "two runs of one graph gave different bits"
    trial.judge(before, runs[0], nmse=BOUND.get(trial.form.op))
    buffer.free()
    return True


@pytest.fixture(autouse=True)
def every_step_is_shared(monkeypatch):
    """By all threads, however small it is."""
    monkeypatch.setattr("ggmlrpc_cpu.plan.SOLO_COST", 0.0)


@pytest.mark.parametrize("name", QUICK)
def test_kernels_agree_with_double(device, name):
    ran = 0
    for seed in range(TRIES):
        draw = RandomDraw(seed, simple=SIMPLE)
        form = FORMS[name](draw)
        kinds = {form.type, *(s.type for s in form.src if s is not None)}
        if kinds <= {"F32", "I32"} or name == "SOFT_MAX":
            ran += hold(device, Trial(form, draw))
    assert ran


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMS))
def test_kernels_agree_with_double_on_many(device, name):
    for seed in range(MANY):
        draw = RandomDraw(seed, simple=SIMPLE * (seed % 2))
        hold(device, Trial(FORMS[name](draw), draw), compiled=False)


COPIES = [
    ("F32", "F16"),
    ("F16", "F32"),
    ("F32", "F32"),
    ("F32", "Q8_0"),
    ("Q8_0", "F32"),
    ("I64", "I64"),
]


@pytest.mark.parametrize(("a", "y"), COPIES)
def test_copies_of_any_layout(device, a, y):
    ne = (max(TYPES[a].blck_size, TYPES[y].blck_size) * 2, 3, 2, 2)
    ran = 0
    for seed in range(TRIES):
        form = Form(
            "CPY",
            y,
            ne,
            [Source(a, ne, special=y != "Q8_0"), Source(y, ne, special=False)],
            within=1,
            nmse=0.0,
        )
        ran += hold(device, Trial(form, RandomDraw(seed)))
    assert ran


BIG = 3 << 30
FAR = (1 << 31) + 4096


def test_rows_beyond_two_gigabytes(device):
    """Of three GiB a few pages are used: strides and row numbers above 2^31 bytes in every kind of access."""
    b = GraphBuilder()
    root = b.new_tensor("F32", BIG // 4)

    def far(offset, rows, step):
        return b.view_of(
            root,
            "VIEW",
            ne=(32, rows),
            nb=(4, step, step * rows, step * rows),
            offset=offset,
            src=[root],
        )

    x, table = far(64, 2, FAR), far(1024, 3, 1 << 30)
    weight, chosen = b.new_tensor("F32", 32), b.new_tensor("I32", 2)
    rows, ids = b.new_tensor("F32", 32, 2), b.new_tensor("I64", 2)
    stored = b.set_rows(table, rows, ids)
    outputs = [
        b.get_rows(stored, chosen), b.cont(x), b.add(x, weight), b.rms_norm(x, eps=1e-5), b.soft_max_ext(b.cont(x)),
        b.mul_mat(x, weight), b.scale(x, 2.0),
    ]  # fmt: skip
    buffer = allocate(outputs, device)
    graph = b.graph(*outputs)
    rng = np.random.default_rng(1)

    def array(tensor):
        return raw_view(tensor, buffer.memory)

    for t in (x, weight, rows):
        array(t)[...] = rng.standard_normal(t.shape)
    array(ids)[...], array(chosen)[...] = [2, 0], [0, 2]
    made = device.prepare(graph)
    assert not [s for s in made.plan.stages if isinstance(s, HostStage)]
    made.run(lambda: False)
    source, w = array(x).astype(np.float64), array(weight).astype(np.float64)
    e = np.exp(source - source.max(axis=-1, keepdims=True))
    expected = [
        array(rows)[:, :, ::-1], source, source + w, source / np.sqrt((source**2).mean(axis=-1, keepdims=True) + 1e-5),
        e / e.sum(axis=-1, keepdims=True), (source * w).sum(axis=-1, keepdims=True).swapaxes(2, 3), source * 2,
    ]  # fmt: skip
    for tensor, want in zip(outputs, expected):
        np.testing.assert_allclose(array(tensor), want, rtol=1e-5, atol=1e-5, err_msg=tensor.op)
    assert not array(table)[0, 0, 1].any()
    buffer.free()
