"""A test per row and direction: what an old peer means, and what is written to it; both ways give the node back."""

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph, UnsupportedOp
from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.wire.dialects import Dialect, dialect, dialect_names
from ggmlrpc_core.wire.forms import bits, keep
from ggmlrpc_core.wire.meanings import MEANINGS
from ggmlrpc_core.wire.tensors import TensorRecord, to_wire
from ggmlrpc_core.wire.translate import translation

F32, F16, BF16, I32, I64 = (TYPES[t].id for t in ("F32", "F16", "BF16", "I32", "I64"))


def node(i, op="NONE", params=(), src=(), **kwargs):
    fields = {"type": F32, "ne": (4, 1, 1, 1), "nb": (4, 16, 16, 16), "name": b"n", **kwargs}
    return TensorRecord(
        id=i, op=NEWEST.ops[op], op_params=(*params, *[0] * (16 - len(params))),
        src=(*src, *[0] * (10 - len(src))), **fields,
    )  # fmt: skip


def leaf(i, *ne, kind=F32):
    return node(i, ne=(*ne, 1, 1, 1, 1)[:4], type=kind)


def before(date):
    """A state that shipped the day before `date` was written, with today's numbers: only meanings are at work."""
    d = dialect("7.0.0")
    return Dialect("old", d.version, str(np.datetime64(date) - 1), d.numbering, last=date)


def around(date):
    """A state that began the day before a date and lasted a day longer: nobody knows which form its peers have."""
    d = before(date)
    return Dialect("old", d.version, d.shipped, d.numbering, last=str(np.datetime64(date) + 1))


def read(d, *records):
    columns = translation(d).columns(to_wire(dialect("7.0.0"), list(records)))
    return columns.op_params[0].tolist(), columns.src[0].tolist()


def written(d, *records):
    """op_params and sources of the first record as they are sent."""
    array = to_wire(dialect("7.0.0"), list(records))
    translation(d).graph_to_dialect(array)
    return array


def there_and_back(d, *records):
    array = written(d, *records)
    columns = translation(d).columns(array)
    return columns.op_params[0].tolist(), columns.src[0].tolist()


EPS, ONE, TWO = bits(1e-6), bits(1.0), bits(2.0)
OLD_ROPE = [0, 64, 2, 512, 0, 7, 7, 7, 7, 7, 7, 5, 1]
NEW_ROPE = [0, 64, 2, 0, 0, 7, 7, 7, 7, 7, 7]
READ = {  # op, date: old op_params and sources -> new ones; a newer form that stays
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
READ_ELSEWHERE = {("PAD", "2025-09-04")}

WIDE = leaf(1, 8, 6)
MASK = leaf(4, 32, 3)
STATE = [leaf(i, 4) for i in range(1, 6)]
PADDED = node(9, "PAD", [0, 3, 0, 0, 0, 0, 0, 2], [1], ne=(7, 2, 1, 3))
MROPE = [0, 64, 8, 0, 0, 7, 7, 7, 7, 7, 7, 1, 1, 1, 0]
WRITTEN = {  # op, date, since: nodes that both sides understand; nodes that an old one does not, and why
    ("UPSCALE", "2024-05-15", ""): (
        [[node(9, "UPSCALE", [], [1], ne=(16, 12, 1, 1)), WIDE]],
        [([node(9, "UPSCALE", [], [1], ne=(16, 18, 1, 1)), WIDE],
          "ne of UPSCALE is [16, 18, 1, 1], expected src[0] times one whole number in dimensions 0 and 1")],
    ),
    ("ROPE", "2024-05-22", ""): (
        [[node(9, "ROPE", NEW_ROPE, [1, 2])]],
        [([node(9, "ROPE", NEW_ROPE, [1, 2, 3])], "src[2] of ROPE is there, expected none")],
    ),
    ("CONCAT", "2024-05-28", ""): (
        [[node(9, "CONCAT", [2], [1, 2]), WIDE]],
        [([node(9, "CONCAT", [0], [1, 2])], "op_params[0] of CONCAT is 0, expected 2")],
    ),
    ("ROPE", "2024-06-05", ""): ([[node(9, "ROPE", NEW_ROPE, [1, 2])]], []),
    ("ROPE_BACK", "2024-06-05", ""): ([[node(9, "ROPE_BACK", NEW_ROPE, [1, 2])]], []),
    ("GROUP_NORM", "2024-08-06", ""): (
        [[node(9, "GROUP_NORM", [32, EPS], [1])]],
        [([node(9, "GROUP_NORM", [32, ONE], [1])], "op_params[1] of GROUP_NORM is 1.0, expected 1e-06")],
    ),
    ("SSM_CONV", "2024-08-21", ""): (
        [], [([node(9, "SSM_CONV", [], [1, 2])], "form of SSM_CONV is the newest, expected one that the peer knows")],
    ),
    ("FLASH_ATTN_EXT", "2024-08-24", ""): (
        [[node(9, "FLASH_ATTN_EXT", [ONE, 0, 0, 10], [1, 2, 3])], [node(9, "FLASH_ATTN_EXT", [ONE], [1, 2, 3])]],
        [([node(9, "FLASH_ATTN_EXT", [ONE, 0, TWO], [1, 2, 3])], "op_params[2] of FLASH_ATTN_EXT is 2.0, expected 0")],
    ),
    ("ROPE_BACK", "2024-09-03", ""): (
        [[node(9, "ROPE_BACK", NEW_ROPE, [1, 2])]],
        [([node(9, "ROPE_BACK", NEW_ROPE, [1, 2, 3])], "src[2] of ROPE_BACK is there, expected none")],
    ),
    ("OPT_STEP_ADAMW", "2024-11-16", ""): (
        [], [([node(9, "OPT_STEP_ADAMW", [], [1])], "form of OPT_STEP_ADAMW is the newest")],
    ),
    ("ROPE", "2024-12-14", ""): (
        [[node(9, "ROPE", NEW_ROPE, [1, 2])]],
        [([node(9, "ROPE", MROPE, [1, 2])], "op_params[2] of ROPE is 8, expected without bit 8"),
         ([node(9, "ROPE", [0, 64, 0, *[0] * 10, 3], [1, 2])], "op_params[13] of ROPE is 3, expected 0")],
    ),
    ("ROPE_BACK", "2024-12-14", ""): (
        [[node(9, "ROPE_BACK", NEW_ROPE, [1, 2])]],
        [([node(9, "ROPE_BACK", MROPE, [1, 2])], "op_params[2] of ROPE_BACK is 8, expected without bit 8")],
    ),
    ("SOFT_MAX_BACK", "2025-01-16", ""): (
        [[node(9, "SOFT_MAX_BACK", [ONE], [1, 2])]],
        [([node(9, "SOFT_MAX_BACK", [TWO], [1, 2])], "op_params[0] of SOFT_MAX_BACK is 2.0, expected 1"),
         ([node(9, "SOFT_MAX_BACK", [ONE, TWO], [1, 2])], "op_params[1] of SOFT_MAX_BACK is 2.0, expected 0")],
    ),
    ("SILU_BACK", "2025-01-16", ""): ([[node(9, "SILU_BACK", [], [1, 2])]], []),
    ("RMS_NORM_BACK", "2025-01-16", ""): ([[node(9, "RMS_NORM_BACK", [EPS], [1, 2])]], []),
    ("IM2COL_BACK", "2025-01-16", ""): ([[node(9, "IM2COL_BACK", [1], [1, 2])]], []),
    ("CROSS_ENTROPY_LOSS_BACK", "2025-01-16", ""): ([[node(9, "CROSS_ENTROPY_LOSS_BACK", [], [1, 2, 3])]], []),
    ("UPSCALE", "2025-04-09", ""): (
        [[node(9, "UPSCALE", [0], [1], ne=(9, 6, 1, 1)), WIDE]],
        [([node(9, "UPSCALE", [1], [1], ne=(16, 12, 1, 1)), WIDE], "op_params[0] of UPSCALE is 1, expected 0")],
    ),
    ("MUL_MAT", "2025-04-28", ""): ([[node(9, "MUL_MAT", [10], [1, 2])], [node(9, "MUL_MAT", [0, 1], [1, 2])]], []),
    ("FLASH_ATTN_EXT", "2025-04-28", ""): ([[node(9, "FLASH_ATTN_EXT", [ONE, 0, TWO, 10, 64], [1, 2, 3])]], []),
    ("SSM_SCAN", "2025-07-02", ""): ([], [([node(9, "SSM_SCAN", [1], [1, 2])], "form of SSM_SCAN is the newest")]),
    ("SCALE", "2025-07-09", ""): (
        [[node(9, "SCALE", [TWO], [1])]],
        [([node(9, "SCALE", [TWO, ONE], [1])], "op_params[1] of SCALE is 1.0, expected 0")],
    ),
    ("SOFT_MAX", "2025-08-05", ""): (
        [[node(9, "SOFT_MAX", [ONE], [1, 2])]],
        [([node(9, "SOFT_MAX", [ONE], [1, 2, 3])], "src[2] of SOFT_MAX is there, expected none")],
    ),
    ("FLASH_ATTN_EXT", "2025-08-05", ""): (
        [[node(9, "FLASH_ATTN_EXT", [ONE], [1, 2, 3])]],
        [([node(9, "FLASH_ATTN_EXT", [ONE], [1, 2, 3, 0, 5])], "src[4] of FLASH_ATTN_EXT is there, expected none")],
    ),
    ("UPSCALE", "2025-08-14", ""): (
        [[node(9, "UPSCALE", [1], [1], ne=(16, 12, 1, 1)), WIDE]],
        [([node(9, "UPSCALE", [257], [1]), WIDE], "op_params[0] of UPSCALE is 257, expected 0 or 1")],
    ),
    ("UPSCALE", "2026-03-10", ""): (
        [[node(9, "UPSCALE", [257], [1]), WIDE]],
        [([node(9, "UPSCALE", [2], [1]), WIDE], "op_params[0] of UPSCALE is 2, expected 0 or 1 or 257"),
         ([node(9, "UPSCALE", [513], [1]), WIDE], "op_params[0] of UPSCALE is 513, expected 0 or 1 or 257")],
    ),
    ("PAD", "2025-09-04", ""): (
        [[PADDED, leaf(1, 4, 2)]],
        [([PADDED._replace(op_params=(3, *[0] * 6, 2, *[0] * 8)), leaf(1, 4, 2)],
          "op_params[0:8] of PAD is [3, 0, 0, 0, 0, 0, 0, 2], expected padding on the right sides only")],
    ),
    ("TIMESTEP_EMBEDDING", "2025-09-16", ""): (
        [[node(9, "TIMESTEP_EMBEDDING", [8, 100], [1])]],
        [([node(9, "TIMESTEP_EMBEDDING", [7, 100], [1])], "op_params[0] of TIMESTEP_EMBEDDING is 7, expected even")],
    ),
    ("SET_ROWS", "2025-09-22", ""): (
        [[node(9, "SET_ROWS", [], [1, 2, 3]), leaf(1, 4), leaf(2, 1, kind=I64), leaf(3, 4)]],
        [([node(9, "SET_ROWS", [], [1, 2, 3]), leaf(1, 4), leaf(2, 1, kind=I32), leaf(3, 4)],
          f"type of src[1] of SET_ROWS is {I32}, expected I64")],
    ),
    ("ROPE", "2025-10-30", ""): (
        [[node(9, "ROPE", MROPE, [1, 2])]],
        [([node(9, "ROPE", [0, 64, 40], [1, 2])], "op_params[2] of ROPE is 40, expected without bit 32")],
    ),
    ("FLASH_ATTN_EXT", "2025-12-03", ""): (
        [[node(9, "FLASH_ATTN_EXT", [ONE], [1, 2, 3, 4]), leaf(1, 8, 3), leaf(4, 32, 64)],
         [node(9, "FLASH_ATTN_EXT", [ONE], [1, 2, 3]), leaf(1, 8, 3)]],
        [([node(9, "FLASH_ATTN_EXT", [ONE], [1, 2, 3, 4]), leaf(1, 8, 3), MASK],
          "ne[1] of src[3] of FLASH_ATTN_EXT is 3, expected a multiple of 64")],
    ),
    ("PAD", "2025-12-06", ""): (
        [[node(9, "PAD", [1, 2], [1])]],
        [([node(9, "PAD", [1, 2, *[0] * 6, 1], [1])], "op_params[8] of PAD is 1, expected 0")],
    ),
    ("GATED_DELTA_NET", "2026-06-10", ""): (
        [[node(9, "GATED_DELTA_NET", [1], [1, 2, 3, 4, 5])]],
        [([node(9, "GATED_DELTA_NET", [2], [1])], "op_params[0] of GATED_DELTA_NET is 2, expected 1")],
    ),
    ("GATED_DELTA_NET", "2026-06-10", "2026-05-16"): (
        [[node(9, "GATED_DELTA_NET", [1], [1, 2, 3, 4, 5, 6]), *STATE, leaf(6, 16, 1)]],
        [([node(9, "GATED_DELTA_NET", [1], [1, 2, 3, 4, 5, 6]), *STATE, leaf(6, 4, 4)],
          "ne[1] of src[5] of GATED_DELTA_NET is 4, expected 1")],
    ),
    ("SET_ROWS", "2026-07-08", ""): (
        [[node(9, "SET_ROWS", [], [1, 2]), leaf(1, 4), leaf(2, 1, kind=I64)]],
        [([node(9, "SET_ROWS", [], [1, 2]), leaf(1, 4, kind=F16), leaf(2, 1, kind=I64)],
          f"type of src[0] of SET_ROWS is {F16}, expected F32")],
    ),
    ("CONV_2D_DW", "2026-07-29", ""): (
        [[node(9, "CONV_2D_DW", [1, 1], [1, 2]), WIDE]],
        [([node(9, "CONV_2D_DW", [1, 1], [1, 2]), leaf(1, 4, kind=F16)],
          f"type of src[0] of CONV_2D_DW is {F16}, expected F32")],
    ),
    ("SSM_SCAN", "2026-08-14", ""): (
        [[node(9, "SSM_SCAN", [1], [1])]],
        [([node(9, "SSM_SCAN", [3], [1])], "op_params[0] of SSM_SCAN is 3, expected 1")],
    ),
    ("ROPE", "2026-08-19", ""): (
        [[node(9, "ROPE", MROPE, [1, 2])]],
        [([node(9, "ROPE", [*NEW_ROPE, 0, 0, 0, 0, 16], [1, 2])], "op_params[15] of ROPE is 16, expected 0")],
    ),
    ("MUL_MAT", "2026-09-11", ""): (
        [[node(9, "MUL_MAT", [10, 1], [1, 2])]],
        [([node(9, "MUL_MAT", [20], [1, 2])], "op_params[0] of MUL_MAT is 20, expected 0 or 10"),
         ([node(9, "MUL_MAT", [0, 0, 0, 30], [1, 2])], "op_params[3] of MUL_MAT is 30, expected 0")],
    ),
    ("MUL_MAT_ID", "2026-09-11", ""): (
        [[node(9, "MUL_MAT_ID", [10], [1, 2, 3])]],
        [([node(9, "MUL_MAT_ID", [15], [1, 2, 3])], "op_params[0] of MUL_MAT_ID is 15, expected 0 or 10")],
    ),
    ("FLASH_ATTN_EXT", "2026-09-11", ""): (
        [[node(9, "FLASH_ATTN_EXT", [ONE, 0, 0, 10, 77], [1, 2, 3])]],
        [([node(9, "FLASH_ATTN_EXT", [ONE, 0, 0, 20], [1, 2, 3])],
          "op_params[3] of FLASH_ATTN_EXT is 20, expected 0 or 10")],
    ),
    ("DSV4_HC_PRE", "2026-09-11", ""): (
        [[node(9, "DSV4_HC_PRE", [ONE], [1, 2])]],
        [([node(9, "DSV4_HC_PRE", [TWO], [1, 2])], "op_params[0] of DSV4_HC_PRE is 2.0, expected 1"),
         ([node(9, "DSV4_HC_PRE", [ONE, 1], [1, 2])], "op_params[1] of DSV4_HC_PRE is 1, expected 0")],
    ),
    ("DSV4_HC_POST", "2026-09-11", ""): (
        [[node(9, "DSV4_HC_POST", [], [1, 2, 3, 4])]],
        [([node(9, "DSV4_HC_POST", [], [1, 2, 3])], "src[3] of DSV4_HC_POST is absent, expected a tensor")],
    ),
    **{
        (op, "2026-09-11", ""): (
            [[node(9, op, [], [1]), WIDE], [node(9, op, [], [1], type=F16), leaf(1, 4, kind=F16)]],
            [([node(9, op, [], [1]), leaf(1, 4, kind=BF16)], f"type of src[0] of {op} is {BF16}, expected not BF16"),
             ([node(9, op, [], [1], type=BF16), WIDE], f"type of {op} is {BF16}, expected not BF16")],
        )
        for op in ("GLU", "UNARY", "SCALE")
    },
}  # fmt: skip
IGNORED = [  # newer forms that an older peer does not see, and rightly so
    [node(9, "SET_ROWS", [], [1, 2, 3]), leaf(1, 4), leaf(2, 1, kind=I64), leaf(3, 4)],
    [node(9, "MUL_MAT", [0, 1], [1, 2])],
    [node(9, "FLASH_ATTN_EXT", [ONE, 0, 0, 0, 99], [1, 2, 3])],
    [node(9, "CLAMP", [0, ONE], [1])],
]
ANY_FORM_WHEN_UNSURE = {("FLASH_ATTN_EXT", "2024-08-24"), ("MUL_MAT", "2025-04-28")} | {
    ("FLASH_ATTN_EXT", "2025-04-28")
}
NO_FORM_WHEN_UNSURE = {
    (op, "2025-01-16")
    for op in ("SILU_BACK", "RMS_NORM_BACK", "IM2COL_BACK", "CROSS_ENTROPY_LOSS_BACK")
}


def test_every_row_has_a_test_in_both_directions():
    reading = {(m.op, m.until) for m in MEANINGS if m.form.read is not keep}
    assert reading == {*READ, *REFUSED, *READ_ELSEWHERE}
    assert [(m.op, m.until, m.since) for m in MEANINGS if m.form.write is keep] == []
    assert {(m.op, m.until, m.since) for m in MEANINGS} == set(WRITTEN)


@pytest.mark.parametrize(
    ("key", "case"),
    [(k, c) for k, cs in READ.items() for c in cs],
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


def rows_of(wanted):
    return [pytest.param(k, id="-".join(k)) for k in wanted]


@pytest.mark.parametrize("key", rows_of(WRITTEN))
def test_what_both_understand_comes_back_as_it_was(key):
    _, date, _ = key
    good, _ = WRITTEN[key]
    for records in good:
        newest = (list(records[0].op_params), list(records[0].src))
        assert there_and_back(before(date), *records) == newest
        assert there_and_back(dialect("7.0.0"), *records) == newest
        if key[:2] not in NO_FORM_WHEN_UNSURE:
            unsure = there_and_back(around(date), *records)
            assert unsure == newest


@pytest.mark.parametrize("key", rows_of(WRITTEN))
def test_what_an_older_peer_does_not_understand_is_not_sent(key):
    op, date, since = key
    _, bad = WRITTEN[key]
    for records, sentence in bad:
        for d in (before(date), around(date)):
            with pytest.raises(UnsupportedOp) as caught:
                written(d, *records)
            assert str(caught.value).startswith(f"GRAPH_COMPUTE: {sentence}")
            history = {m.what for m in MEANINGS if (m.op, m.until) == (op, date)}
            told = str(caught.value).partition(f"[before {date} ")[2].partition(";")[0]
            assert told in history
            assert str(caught.value).endswith("; node 'n', protocol old]")
        written(dialect("7.0.0"), *records)
        if since:
            d = dialect("7.0.0")
            written(Dialect("older", d.version, "2026-01-01", d.numbering, last=since), *records)


@pytest.mark.parametrize("op", [op for op, _ in sorted(NO_FORM_WHEN_UNSURE)])
def test_an_order_of_sources_is_not_guessed(op):
    """A release of 2025-03 (none-D) has the newer order, the first days of its state had the older one."""
    with pytest.raises(BadGraph, match=f"op is {op} of a peer from about 2025-01-16, expected one"):
        read(around("2025-01-16"), node(9, op, [], [1, 2, 3]))
    with pytest.raises(UnsupportedOp, match=f"form of {op} is the newest"):
        written(around("2025-01-16"), node(9, op, [], [1, 2, 3]))


@pytest.mark.parametrize(
    ("date", "slot", "sure"),
    [("2024-08-24", 2, [ONE, 0, 10, 0]), ("2025-04-28", 3, [ONE, 0, 0, 1])],
)
def test_what_is_written(date, slot, sure):
    record = node(9, "FLASH_ATTN_EXT", [ONE, 0, 0, 10], [1, 2, 3])
    assert written(before(date), record)["op_params"][0, :4].tolist() in (sure, [ONE, 0, 1, 0])
    assert written(around(date), record)["op_params"][0, :4].tolist()[2] == 0


@pytest.mark.parametrize("records", IGNORED)
def test_what_an_older_peer_ignores_is_sent_as_it_is(records):
    for name in dialect_names():
        if records[0].op in (NEWEST.ops[o] for o in dialect(name).numbering.ops if o in NEWEST.ops):
            newest = (list(records[0].op_params), list(records[0].src))
            assert there_and_back(dialect(name), *records) == newest


@pytest.mark.parametrize("name", dialect_names())
def test_every_row_comes_back_through_every_state_that_shipped(name):
    """Newest, written by a client of that state, read by a server of it: equal, or refused when written."""
    d = dialect(name)
    seen = 0
    for (op, _, _), (good, _) in WRITTEN.items():
        if op not in d.numbering.ops:
            continue
        for records in good:
            try:
                back = there_and_back(d, *records)
            except (UnsupportedOp, KeyError):
                continue
            assert back == (list(records[0].op_params), list(records[0].src)), (op, records)
            seen += 1
    assert seen > 15


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


def test_a_concat_along_dimension_0_tells_itself_by_its_shape():
    old, source = node(9, "CONCAT", [], [1, 1], ne=(8, 6, 2, 1)), leaf(1, 4, 6, 2)
    assert read(before("2024-05-28"), old, source)[0][0] == 0
    assert read(before("2024-05-28"), old._replace(ne=(4, 6, 4, 1)), source)[0][0] == 2


@pytest.mark.parametrize("name", ["2.0.0@2025-08-22", "7.0.0"])
def test_set_rows_keeps_its_sources(name):
    """Clients before 2025-09-29 have no source for the destination, and view_src may be a larger tensor."""
    old = node(9, "SET_ROWS", [], [1, 2], view_src=5)
    array = to_wire(dialect(name), [old])
    assert translation(dialect(name)).columns(array).src[0].tolist()[:3] == [1, 2, 0]


def test_a_precision_of_1_is_told_by_clients_before_softcap_and_before_10():
    """Two rows after each other: the slot moves first, then the value; written in the other order."""
    d = dialect("none-C@2024-06-15")
    record = node(9, "FLASH_ATTN_EXT", [ONE, 0, 1], [1, 2, 3])
    array = to_wire(d, [record])
    assert translation(d).columns(array).op_params[0].tolist()[:4] == [ONE, 0, 0, 10]
    newest = to_wire(dialect("7.0.0"), [record._replace(op_params=(ONE, 0, 0, 10, *[0] * 12))])
    translation(d).graph_to_dialect(newest)
    assert newest["op_params"][0, :4].tolist() == [ONE, 0, 1, 0]


def test_rows_are_ordered_and_apply_to_states_before_their_date():
    assert [m.until for m in MEANINGS] == sorted(m.until for m in MEANINGS)
    always = [m for m in MEANINGS if not m.since]
    counts = [sum(m in always for m in translation(dialect(n)).meanings) for n in dialect_names()]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (len(always), 0)
    later = [n for n in dialect_names() if translation(dialect(n)).meanings != tuple(
        m for m in always if dialect(n).shipped < m.until)]  # fmt: skip
    assert later == ["4.0.0", "4.0.1"]
