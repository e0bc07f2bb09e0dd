"""A test per row: an old form becomes the newest, a newer client's form is left alone."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.wire.dialects import Dialect, dialect, dialect_names
from ggmlrpc_core.wire.meanings import MEANINGS, bits
from ggmlrpc_core.wire.tensors import TensorRecord, to_wire
from ggmlrpc_core.wire.translate import translation


def node(i, op, params=(), src=(), **kwargs):
    return TensorRecord(
        id=i, type=0, ne=kwargs.pop("ne", (4, 1, 1, 1)), nb=(4, 16, 16, 16), op=NEWEST.ops[op],
        op_params=(*params, *[0] * (16 - len(params))), src=(*src, *[0] * (10 - len(src))), **kwargs,
    )  # fmt: skip


def before(date):
    """A state that shipped the day before `date` was written, with today's numbers: only meanings are at work."""
    d = dialect("7.0.0")
    return Dialect("old", d.version, str(np.datetime64(date) - 1), d.numbering)


def read(d, *records):
    columns = translation(d).columns(to_wire(dialect("7.0.0"), list(records)))
    return columns.op_params[0].tolist(), columns.src[0].tolist()


EPS, ONE = bits(1e-6), bits(1.0)
OLD_ROPE = [0, 64, 2, 512, 0, 7, 7, 7, 7, 7, 7, 5, 1]
NEW_ROPE = [0, 64, 2, 0, 0, 7, 7, 7, 7, 7, 7]
CASES = {  # op, date: old op_params and sources -> new ones; a newer form that stays
    ("UPSCALE", "2024-05-15"): [([2], [1], [0], [1])],
    ("CONCAT", "2024-05-28"): [([], [1, 2], [2], [1, 2])],
    ("ROPE", "2024-06-05"): [(OLD_ROPE, [1, 2], NEW_ROPE, [1, 2])],
    ("ROPE_BACK", "2024-06-05"): [(OLD_ROPE, [1, 2], NEW_ROPE, [1, 2])],
    ("GROUP_NORM", "2024-08-06"): [([32], [1], [32, EPS], [1]), ([32, ONE], [1], [32, ONE], [1])],
    ("FLASH_ATTN_EXT", "2024-08-24"): [
        ([ONE, 0, 1], [1, 2, 3], [ONE, 0, 0, 10], [1, 2, 3]),
        ([ONE, 0, bits(30.0), 0], [1, 2, 3], [ONE, 0, bits(30.0), 0], [1, 2, 3]),
    ],
    ("SOFT_MAX_BACK", "2025-01-16"): [([], [1, 2], [ONE], [1, 2]), ([EPS], [1, 2], [EPS], [1, 2])],
    ("SILU_BACK", "2025-01-16"): [([], [1, 2], [], [2, 1])],
    ("RMS_NORM_BACK", "2025-01-16"): [([EPS], [1, 2], [EPS], [2, 1])],
    ("IM2COL_BACK", "2025-01-16"): [([1], [1, 2], [1], [2, 1])],
    ("CROSS_ENTROPY_LOSS_BACK", "2025-01-16"): [([], [1, 2, 3], [], [3, 1, 2])],
    ("MUL_MAT", "2025-04-28"): [([1], [1, 2], [10], [1, 2]), ([0], [1, 2], [0], [1, 2])],
    ("FLASH_ATTN_EXT", "2025-04-28"): [([ONE, 0, 0, 1], [1, 2, 3], [ONE, 0, 0, 10], [1, 2, 3])],
    ("GATED_DELTA_NET", "2026-06-10"): [([], [1], [1], [1]), ([3], [1], [3], [1])],
    ("SSM_SCAN", "2026-08-14"): [([], [1], [1], [1]), ([4], [1], [4], [1])],
    ("DSV4_HC_PRE", "2026-09-11"): [([], [1, 2], [ONE], [1, 2]), ([EPS, 1], [1, 2], [EPS, 1], [1, 2])],
}  # fmt: skip
REFUSED = {
    ("SSM_CONV", "2024-08-21"): (0, "sources and result were reorganised"),
    ("OPT_STEP_ADAMW", "2024-11-16"): (0, "parameters became a tensor, moments became sources"),
    ("SSM_SCAN", "2025-07-02"): (0, "ids became source 6, heads came in"),
    ("TIMESTEP_EMBEDDING", "2025-09-16"): (7, "an odd dim gave one column more"),
}
OWN_TEST = {("PAD", "2025-09-04")}


def test_every_row_has_a_test():
    assert {(m.op, m.until) for m in MEANINGS} == {*CASES, *REFUSED, *OWN_TEST}


@pytest.mark.parametrize(
    ("key", "case"),
    [(k, c) for k, cs in CASES.items() for c in cs],
    ids=lambda v: v[0] if isinstance(v[0], str) else "",
)
def test_the_old_form_becomes_the_newest(key, case):
    op, date = key
    old_params, old_src, new_params, new_src = case
    old = node(9, op, old_params, old_src)
    params, src = read(before(date), old)
    assert params == [*new_params, *[0] * (16 - len(new_params))]
    assert src == [*new_src, *[0] * (10 - len(new_src))]
    assert read(dialect("7.0.0"), old) == (list(old.op_params), list(old.src))


@pytest.mark.parametrize("key", REFUSED, ids=lambda k: f"{k[0]}-{k[1]}")
def test_a_form_that_cannot_be_told_is_refused(key):
    op, date = key
    param, why = REFUSED[key]
    with pytest.raises(BadGraph) as caught:
        read(before(date), node(9, op, [param], [1]))
    assert (
        str(caught.value)
        == f"GRAPH_COMPUTE: op is {op} as before {date}, expected the form of {date}: {why}"
    )
    read(dialect("7.0.0"), node(9, op, [param], [1]))


def test_an_even_timestep_embedding_never_changed():
    read(before("2025-09-16"), node(9, "TIMESTEP_EMBEDDING", [8], [1]))


def test_pad_gets_its_right_sides_from_the_shapes():
    source = node(1, "NONE", ne=(4, 2, 1, 1))
    old = node(9, "PAD", [], [1], ne=(7, 2, 1, 3))
    params, _ = read(before("2025-09-04"), old, source)
    assert params[:9] == [0, 3, 0, 0, 0, 0, 0, 2, 0]
    newer = old._replace(op_params=(1, 2, *[0] * 14))
    assert read(before("2025-09-04"), newer, source)[0][:2] == [1, 2]
    assert read(dialect("7.0.0"), old, source)[0] == [0] * 16


def test_set_rows_without_a_destination_stays_without():
    """Its view_src is the tensor under all views, of another shape than the node: no source for it."""
    old = node(9, "SET_ROWS", [], [1, 2], view_src=5)
    assert read(before("2025-09-29"), old)[1][:3] == [1, 2, 0]


def test_a_precision_of_1_is_told_by_clients_before_softcap_and_before_10():
    """Two rows after each other: the slot moves first, then the value."""
    d = dialect("none-C@2024-06-15")
    record = node(9, "FLASH_ATTN_EXT", [ONE, 0, 1], [1, 2, 3])
    array = to_wire(d, [record])
    assert translation(d).columns(array).op_params[0].tolist()[:4] == [ONE, 0, 0, 10]


def test_rows_are_ordered_and_apply_to_states_before_their_date():
    assert [m.until for m in MEANINGS] == sorted(m.until for m in MEANINGS)
    counts = [len(translation(dialect(n)).meanings) for n in dialect_names()]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (len(MEANINGS), 0)
