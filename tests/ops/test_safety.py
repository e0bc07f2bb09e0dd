"""Whatever passes the rules runs: one good node for each op, with changes that a hostile peer would make.

A changed node is either refused with BadGraph, or computed without an exception of Python's own and without a byte
written outside its memory.
"""

import contextlib
import dataclasses

import numpy as np
import pytest

from ggmlrpc_core.errors import BadGraph, OutOfBounds
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.tensor import contiguous_nb
from ggmlrpc_core.graph.views import raw_view
from ggmlrpc_core.ops import OPS, compute, run_node

F32, F16, I32 = "F32", "F16", "I32"
ROPE_PARAMS = {1: 4, 2: 8, 4: 64, 5: 1e4, 6: 1.0, 8: 1.0, 9: 32.0, 10: 1.0, 11: 2, 12: 1, 13: 1}

GOOD = {
    "DUP": (F16, (4, 3), [(F32, (4, 3))], {}),
    "ADD": (F32, (4, 2, 3), [(F32, (4, 2, 3)), (F32, (2, 1, 3))], {}),
    "ADD_ID": (F32, (4, 2, 3), [(F32, (4, 2, 3)), (F32, (4, 5)), (I32, (2, 3))], {}),
    "ADD1": (F32, (4, 2), [(F32, (4, 2)), (F32, (1,))], {}),
    "ACC": (F32, (4, 3), [(F32, (4, 3)), (F32, (2, 2))], {0: 16, 1: 48, 2: 48, 3: 4}),
    "SUB": (F32, (4, 2), [(F32, (4, 2)), (F32, (2, 1))], {}),
    "MUL": (F32, (4, 2), [(F32, (4, 2)), (F32, (2, 1))], {}),
    "DIV": (F32, (4, 2), [(F32, (4, 2)), (F32, (2, 1))], {}),
    "SQR": (F32, (4, 2), [(F32, (4, 2))], {}),
    "SQRT": (F32, (4, 2), [(F16, (4, 2))], {}),
    "LOG": (F32, (4, 2), [(F32, (4, 2))], {}),
    "SIN": (F32, (4, 2), [(F32, (4, 2))], {}),
    "COS": (F32, (4, 2), [(F32, (4, 2))], {}),
    "SUM": (F32, (1,), [(F32, (4, 2))], {}),
    "SUM_ROWS": (F32, (1, 2), [(F32, (4, 2))], {}),
    "CUMSUM": (F32, (4, 2), [(F32, (4, 2))], {}),
    "MEAN": (F32, (1, 2), [(F32, (4, 2))], {}),
    "ARGMAX": (I32, (2,), [(F32, (4, 2))], {}),
    "COUNT_EQUAL": ("I64", (1,), [(I32, (4, 2)), (I32, (4, 2))], {}),
    "REPEAT": (F32, (4, 6), [(F32, (2, 3))], {}),
    "REPEAT_BACK": (F32, (2, 3), [(F32, (4, 6))], {}),
    "CONCAT": (F32, (4, 5), [(F32, (4, 2)), (F32, (4, 3))], {0: 1}),
    "NORM": (F32, (4, 2), [(F32, (4, 2))], {0: 1e-5}),
    "RMS_NORM": (F32, (4, 2), [(F32, (4, 2))], {0: 1e-5}),
    "GROUP_NORM": (F32, (4, 2, 3), [(F32, (4, 2, 3))], {0: 2, 1: 1e-5}),
    "L2_NORM": (F32, (4, 2), [(F32, (4, 2))], {0: 1e-5}),
    "MUL_MAT": (F32, (3, 2, 4), [(F16, (4, 3, 2)), (F32, (4, 2, 4))], {}),
    "MUL_MAT_ID": (F32, (3, 2, 4), [(F32, (4, 3, 5)), (F32, (4, 1, 4)), (I32, (2, 4))], {}),
    "OUT_PROD": (F32, (3, 2, 4), [(F32, (3, 4, 2)), (F32, (2, 4, 4))], {}),
    "SCALE": (F32, (4, 2), [(F32, (4, 2))], {0: 2.0}),
    "SET": (F32, (4, 3), [(F32, (4, 3)), (F32, (2, 2))], {0: 16, 1: 48, 2: 48, 3: 4}),
    "CPY": (F32, (4, 3), [(I32, (3, 4))], {}),
    "CONT": (F32, (4, 3), [(F32, (3, 4))], {}),
    "GET_ROWS": (F32, (4, 2, 3), [(F16, (4, 5, 3)), (I32, (2, 3))], {}),
    "GET_ROWS_BACK": (F32, (4, 5), [(F32, (4, 3)), (I32, (3,))], {}),
    "SET_ROWS": (F16, (4, 5, 2), [(F32, (4, 3, 2)), ("I64", (3, 1)), (F16, (4, 5, 2))], {}),
    "DIAG": (F32, (4, 4, 2), [(F32, (4, 1, 2))], {}),
    "DIAG_MASK_INF": (F32, (4, 2), [(F32, (4, 2))], {0: 1}),
    "DIAG_MASK_ZERO": (F32, (4, 2), [(F32, (4, 2))], {0: 1}),
    "SOFT_MAX": (F32, (4, 2, 3), [(F32, (4, 2, 3)), (F16, (4, 2, 3)), (F32, (3,))], {0: 1.0}),
    "ROPE": (F32, (8, 2, 3), [(F32, (8, 2, 3)), (I32, (12,)), (F32, (4,))], ROPE_PARAMS),
    "ROPE_BACK": (F32, (8, 2, 3), [(F32, (8, 2, 3)), (I32, (12,)), (F32, (4,))], ROPE_PARAMS),
    "CLAMP": (F32, (4, 2), [(F32, (4, 2))], {0: -1.0, 1: 1.0}),
    "PAD": (F32, (7, 3), [(F32, (4, 2))], {0: 1, 1: 2, 3: 1, 8: 1}),
    "PAD_REFLECT_1D": (F32, (7, 3), [(F32, (4, 3))], {0: 1, 1: 2}),
    "ROLL": (F32, (4, 3), [(F32, (4, 3))], {0: 1, 1: -2}),
    "ARANGE": (F32, (4,), [], {0: 0.0, 1: 4.0, 2: 1.0}),
    "TIMESTEP_EMBEDDING": (F32, (6, 2), [(F32, (2,))], {0: 6, 1: 100}),
    "ARGSORT": (I32, (4, 2), [(F32, (4, 2))], {0: 1}),
    "TOP_K": (I32, (2, 2), [(F32, (4, 2))], {}),
    "LEAKY_RELU": (F32, (4, 2), [(F32, (4, 2))], {0: 0.1}),
    "TRI": (F32, (4, 4), [(F32, (4, 4))], {0: 2}),
    "FILL": (F32, (4, 2), [(F32, (4, 2))], {0: 1.0}),
    "FLASH_ATTN_EXT": (
        F32, (6, 4, 3, 2),
        [(F32, (4, 3, 4, 2)), (F16, (4, 5, 2, 2)), (F16, (6, 5, 2, 2)), (F16, (5, 3, 4)), (F32, (4,))], {0: 0.5},
    ),
    "UNARY": (F32, (4, 2), [(F32, (4, 2))], {0: 10}),
    "GLU": (F32, (2, 2), [(F32, (4, 2))], {0: 2}),
    "SILU_BACK": (F32, (4, 2), [(F32, (4, 2)), (F32, (4, 2))], {}),
    "RMS_NORM_BACK": (F32, (4, 2), [(F32, (4, 2)), (F32, (4, 2))], {0: 1e-5}),
    "SOFT_MAX_BACK": (F32, (4, 2), [(F32, (4, 2)), (F32, (4, 2))], {0: 0.5}),
    "CROSS_ENTROPY_LOSS": (F32, (1,), [(F32, (4, 2)), (F32, (4, 2))], {}),
    "CROSS_ENTROPY_LOSS_BACK": (F32, (4, 2), [(F32, (1,)), (F32, (4, 2)), (F32, (4, 2))], {}),
    "OPT_STEP_ADAMW": (F32, (4, 2), [(F32, (4, 2))] * 4 + [(F32, (7,))], {}),
    "OPT_STEP_SGD": (F32, (4, 2), [(F32, (4, 2)), (F32, (4, 2)), (F32, (2,))], {}),
    "CONV_TRANSPOSE_1D": (F32, (9, 2), [(F16, (3, 2, 5)), (F32, (4, 5))], {0: 2, 2: 1}),
    "IM2COL": (
        F16, (12, 3, 5, 2), [(F16, (3, 2, 2, 4)), (F32, (6, 4, 2, 2))],
        {0: 2, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1},
    ),
    "IM2COL_BACK": (
        F32, (6, 4, 2, 2), [(F32, (12, 3, 5, 2)), (F16, (3, 2, 2, 4))],
        {0: 2, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1},
    ),
    "IM2COL_3D": (
        F32, (24, 4, 3, 4), [(F16, (2, 2, 2, 6)), (F32, (5, 4, 3, 6))],
        {0: 1, 1: 1, 2: 1, 6: 1, 7: 1, 8: 1, 9: 3},
    ),
    "COL2IM_1D": (F32, (5, 3), [(F32, (9, 3))], {0: 2, 1: 3, 2: 1}),
    "CONV_2D": (
        F32, (3, 5, 4, 2), [(F16, (3, 2, 2, 4)), (F32, (6, 4, 2, 2))],
        {0: 2, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1},
    ),
    "CONV_3D": (
        F32, (4, 3, 2, 4), [(F16, (2, 2, 2, 6)), (F32, (5, 4, 3, 6))],
        {0: 1, 1: 1, 2: 1, 6: 1, 7: 1, 8: 1, 9: 3, 10: 2, 11: 2},
    ),
    "CONV_2D_DW": (
        F32, (3, 5, 2, 2), [(F16, (3, 2, 1, 2)), (F32, (6, 4, 2, 2))],
        {0: 2, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1},
    ),
    "CONV_TRANSPOSE_2D": (F32, (8, 5, 3, 2), [(F16, (2, 3, 3, 4)), (F32, (4, 2, 4, 2))], {0: 2}),
    "POOL_1D": (F32, (4, 3), [(F32, (6, 3))], {0: 1, 1: 2, 2: 2, 3: 1}),
    "POOL_2D": (F32, (4, 3, 2), [(F16, (6, 4, 2))], {1: 2, 2: 2, 3: 2, 4: 1, 5: 1}),
    "POOL_2D_BACK": (
        F32, (6, 4, 2), [(F32, (4, 3, 2)), (F32, (6, 4, 2))], {1: 2, 2: 2, 3: 2, 4: 1, 5: 1},
    ),
    "UPSCALE": (F32, (5, 6, 2), [(F32, (3, 4, 2))], {0: 1}),
    "FLASH_ATTN_BACK": (
        F32, (24 + 20 + 20,), [(F32, (4, 3, 2)), (F32, (4, 5)), (F32, (5, 4)), (F32, (4, 3, 2))], {0: 1},
    ),
    "SSM_CONV": (F32, (3, 4, 2), [(F32, (6, 3, 2)), (F32, (3, 3))], {}),
    "SSM_SCAN": (
        F32, (2 * 4 * 3 * 2 + 5 * 2 * 4 * 2 * 2,),
        [(F32, (5, 2, 4, 3)), (F32, (2, 4, 3, 2)), (F32, (4, 3, 2)), (F32, (1, 4)),
         (F32, (5, 2, 3, 2)), (F32, (5, 2, 3, 2)), (I32, (2,))], {0: 2},
    ),
    "WIN_PART": (F32, (3, 4, 4, 4), [(F32, (3, 7, 6))], {0: 2, 1: 2, 2: 4}),
    "WIN_UNPART": (F32, (3, 7, 6), [(F32, (3, 4, 4, 4))], {0: 4}),
    "GET_REL_POS": (F16, (3, 4, 4), [(F16, (3, 7))], {}),
    "ADD_REL_POS": (F32, (9, 8, 2), [(F32, (9, 8, 2)), (F32, (3, 4, 2, 2)), (F32, (3, 4, 2, 2))], {}),
    "RWKV_WKV6": (F32, (6, 10), [(F32, (3, 2, 4))] * 3 + [(F32, (3, 2)), (F32, (3, 2, 4)), (F32, (18, 2))], {}),
    "GATED_LINEAR_ATTN": (F32, (6, 10), [(F32, (3, 2, 4))] * 4 + [(F32, (18, 2))], {0: 0.5}),
    "RWKV_WKV7": (F32, (6, 10), [(F32, (3, 2, 4))] * 6 + [(F32, (18, 2))], {}),
    "SOLVE_TRI": (F32, (4, 3, 2), [(F32, (3, 3, 2)), (F32, (4, 3, 2))], {}),
    "GATED_DELTA_NET": (
        F32, (12, 3 * 2 + 2 * 3 * 2),
        [(F32, (3, 2, 3, 2)), (F32, (3, 2, 3)), (F32, (3, 4, 3, 2)), (F32, (3, 4, 3, 2)),
         (F32, (1, 4, 3, 2)), (F32, (3, 3, 4, 2))], {0: 2},
    ),
    "LIGHTNING_INDEXER": (
        F32, (5, 3, 1, 2), [(F32, (4, 2, 3, 2)), (F16, (4, 1, 5, 2)), (F32, (2, 3, 1, 2)), (F16, (5, 3))], {},
    ),
    "DSV4_HC_COMB": (F32, (4, 4, 3), [(F32, (24, 3)), (F32, (3,)), (F32, (24,))], {0: 1e-6, 1: 3}),
    "DSV4_HC_PRE": (F32, (5, 3), [(F32, (5, 2, 3)), (F32, (5, 2, 3))], {0: 1.0, 1: 1}),
    "DSV4_HC_POST": (
        F32, (5, 2, 3), [(F32, (5, 3)), (F32, (5, 2, 3)), (F32, (2, 3)), (F32, (2, 2, 3))], {},
    ),
}  # fmt: skip

HOSTILE = (-(2**31), -4, -1, 0, 1, 2, 3, 5, 16, 2**31 - 1)
MAX_ELEMENTS = 100_000
GUARD = 64


def guarded(tensor):
    """Give a tensor memory between two rows of known bytes."""
    tensor.buffer = np.full(tensor.nbytes + 2 * GUARD, 0xA5, np.uint8)
    tensor.buffer[GUARD:-GUARD] = 0
    return dataclasses.replace(tensor, offset=GUARD)


def intact(tensor):
    """Whether the bytes around a tensor are as they were."""
    return (tensor.buffer[:GUARD] == 0xA5).all() and (tensor.buffer[-GUARD:] == 0xA5).all()


def make(bench, name, form):
    """A node from a form like those in GOOD; None when it would be too large to try."""
    type, ne, sources, params = form
    if max(np.prod(ne), *(np.prod(s[1]) for s in sources if s), 0) > MAX_ELEMENTS:
        return None
    made = [None if s is None else guarded(bench.tensor(*s[:1], *s[1])) for s in sources]
    return guarded(bench.node(name, type, ne, *made, params=params))


def changed(rng, form):
    """A form with one thing different."""
    type, ne, sources, params = form
    kind = rng.integers(4)
    if kind == 0:
        slot = int(rng.integers(16))
        value = (
            HOSTILE[rng.integers(len(HOSTILE))]
            if rng.random() < 0.7
            else float(rng.choice([0, -1, np.nan, np.inf]))
        )
        return type, ne, sources, params | {slot: value}

    def other_extents(ne):
        full = [*ne, *(1,) * (4 - len(ne))]
        full[rng.integers(4)] = int(rng.integers(0, 7))
        return tuple(full)

    if not sources or (kind == 1 and rng.random() < 0.4):
        return type, other_extents(ne), sources, params
    at = int(rng.integers(len(sources)))
    replaced = list(sources)
    if replaced[at] is None:
        return form
    if kind in (1, 2):
        replaced[at] = (replaced[at][0], other_extents(replaced[at][1]))
    else:
        plain = [t.name for t in TYPES.values() if t.blck_size == 1]
        replaced[at] = None if rng.random() < 0.3 else (str(rng.choice(plain)), replaced[at][1])
    return type, ne, replaced, params


@pytest.mark.parametrize("name", GOOD)
def test_good_nodes_run(bench, name):
    node = make(bench, name, GOOD[name])
    bench.run(node)
    assert intact(node)


@pytest.mark.parametrize("name", GOOD)
def test_functions_only_read_their_sources(bench, name):
    def read_only(tensor):
        array = raw_view(tensor, tensor.buffer)
        array.flags.writeable = False
        return array

    node = make(bench, name, GOOD[name])
    compute(np, node, read_only)


@pytest.mark.parametrize("name", GOOD)
def test_changed_nodes_are_refused_or_run(bench, name):
    rng = np.random.default_rng(len(name) * 1000 + sum(map(ord, name)))
    ran = refused = 0
    for _ in range(60):
        form = GOOD[name]
        for _ in range(int(rng.integers(1, 3))):
            form = changed(rng, form)
        node = make(bench, name, form)
        if node is None:
            continue
        try:
            bench.check(node)
        except BadGraph:
            refused += 1
            continue
        if 0 in node.ne:
            continue
        with contextlib.suppress(OutOfBounds):
            run_node(np, node, lambda t: raw_view(t, t.buffer))
        ran += 1
        assert intact(node)
        assert all(intact(s) for s in node.src if s is not None)
    assert refused
    assert ran


def test_every_computed_op_has_a_good_node():
    missing = {name for name, declared in OPS.items() if declared.compute is not None} - set(GOOD)
    assert not missing


def test_strides_of_good_nodes_are_those_of_ggml(bench):
    node = make(bench, "SQR", GOOD["SQR"])
    assert node.nb == contiguous_nb(node.type, node.ne)
