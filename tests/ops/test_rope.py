"""ROPE and ROPE_BACK against one pair at a time in double."""

import math

import numpy as np
import pytest

NORMAL, NEOX, MROPE, VISION, IMROPE = 0, 2, 8, 24, 40
D, N_DIMS, HEADS, TOKENS = 32, 16, 3, 5


def axis_and_power(mode, pair, sections):
    """Which position turns a pair, and the power of the frequency step."""
    if mode in (NORMAL, NEOX):
        return 0, pair
    sector = pair % sum(sections)
    if mode == IMROPE:
        axis = sector % 3
        return (axis if sector < 3 * sections[axis] else 3), pair
    ends = np.cumsum(sections)
    axis = int(np.searchsorted(ends, sector, side="right"))
    return axis, (sector - int(ends[axis - 1] if axis else 0) if mode == VISION else pair)


def yarn(pair, theta, p):
    """Angle and magnitude after the mix of scaled and trained frequencies."""
    if p["ext_factor"] == 0:
        return theta * p["freq_scale"], p["attn_factor"]

    def turns_to_pair(turns):
        return (
            N_DIMS
            * math.log(p["n_ctx_orig"] / (turns * 2 * math.pi))
            / (2 * math.log(p["freq_base"]))
        )

    low = max(0.0, math.floor(turns_to_pair(p["beta_fast"])))
    high = min(N_DIMS - 1, math.ceil(turns_to_pair(p["beta_slow"])))
    ramp = 1 - min(1.0, max(0.0, (pair - low) / max(0.001, high - low)))
    mix = ramp * p["ext_factor"]
    angle = theta * p["freq_scale"] * (1 - mix) + theta * mix
    return angle, p["attn_factor"] * (1 + 0.1 * math.log(1 / p["freq_scale"]))


def rotated(x, positions, factors, mode, p, sign=1):
    """The whole op, in loops; x [n, tokens, heads, d]."""
    y = x.copy()
    n_dims, n_offs = p["n_dims"], p.get("n_offs", 0)
    n_pairs = n_dims if mode == VISION else n_dims // 2
    for n, token, head in np.ndindex(x.shape[:3]):
        for pair in range(n_pairs):
            axis, power = axis_and_power(mode, pair, p["sections"])
            theta = positions[axis * x.shape[1] + token] * p["freq_base"] ** (-2 * power / n_dims)
            theta /= factors[pair] if factors is not None else 1.0
            angle, magnitude = yarn(pair, theta, p)
            c, s = math.cos(angle) * magnitude, sign * math.sin(angle) * magnitude
            i, j = (2 * pair, 2 * pair + 1) if mode == NORMAL else (pair, pair + n_pairs)
            i, j = i + n_offs, j + n_offs
            u, v = x[n, token, head, i], x[n, token, head, j]
            y[n, token, head, i], y[n, token, head, j] = u * c - v * s, u * s + v * c
    return y


BASE = {
    "n_dims": N_DIMS, "n_ctx_orig": 512, "freq_base": 10000.0, "freq_scale": 1.0, "ext_factor": 0.0,
    "attn_factor": 1.0, "beta_fast": 32.0, "beta_slow": 1.0, "sections": (0, 0, 0, 0), "n_offs": 0,
}  # fmt: skip


def single(value):
    """As it reads after a trip through f32."""
    return float(np.float32(value))


def params_of(mode, p):
    """The op_params of a case."""
    return {
        1: p["n_dims"], 2: mode, 4: p["n_ctx_orig"], 5: p["freq_base"], 6: p["freq_scale"], 7: p["ext_factor"],
        8: p["attn_factor"], 9: p["beta_fast"], 10: p["beta_slow"],
        11: p["sections"][0], 12: p["sections"][1], 13: p["sections"][2], 14: p["sections"][3], 15: p["n_offs"],
    }  # fmt: skip


def make(bench, mode, p, *, op="ROPE", type="F32", factors=False, d=D, positions=None):
    """A node with random data, and its sources."""
    a = bench.leaf(type, d, HEADS, TOKENS, 2)
    n = TOKENS * (4 if mode & 8 else 1)
    pos = bench.leaf(
        "I32", n, data=bench.rng.integers(0, 300, n) if positions is None else positions
    )
    factor = bench.leaf("F32", d // 2, data=bench.rng.random(d // 2) + 0.5) if factors else None
    return bench.node(op, type, a.ne, a, pos, factor, params=params_of(mode, p))


def expect(bench, node, mode, p, sign=1):
    """What the loops say for a node."""
    a, pos, factor = node.src
    factors = None if factor is None else bench.numbers(factor).ravel()
    p = {k: single(v) if isinstance(v, float) else v for k, v in p.items()}
    return rotated(bench.numbers(a), bench.numbers(pos).ravel(), factors, mode, p, sign)


CASES = [
    (NORMAL, {}),
    (NEOX, {}),
    (NORMAL, {"n_offs": 8}),
    (NEOX, {"n_offs": 16}),
    (NEOX, {"n_dims": 32, "freq_scale": 0.25}),
    (NEOX, {"ext_factor": 1.0, "freq_scale": 0.5, "attn_factor": 1.2}),
    (NORMAL, {"ext_factor": 0.6, "freq_scale": 0.125, "n_ctx_orig": 64}),
    (MROPE, {"sections": (2, 3, 3, 0)}),
    (MROPE, {"sections": (1, 1, 1, 1)}),
    (MROPE, {"sections": (0, 4, 4, 0)}),
    (IMROPE, {"sections": (3, 3, 2, 0)}),
    (IMROPE, {"sections": (2, 1, 1, 4)}),
    (VISION, {"sections": (8, 8, 0, 0)}),
    (VISION, {"sections": (5, 3, 4, 4)}),
    (VISION, {"sections": (3, 2, 2, 1)}),
]


@pytest.mark.parametrize(("mode", "change"), CASES)
@pytest.mark.parametrize("factors", [False, True])
def test_every_mode(bench, assert_close, mode, change, factors):
    p = BASE | change
    node = make(bench, mode, p, factors=factors)
    assert_close(bench.run(node), expect(bench, node, mode, p), 1e-12)


@pytest.mark.parametrize(("mode", "change"), [CASES[0], CASES[1], CASES[10], CASES[13]])
def test_rope_back_turns_by_the_negative_angle(bench, assert_close, mode, change):
    p = BASE | change
    node = make(bench, mode, p, op="ROPE_BACK", factors=True)
    assert_close(bench.run(node), expect(bench, node, mode, p, sign=-1), 1e-12)


def test_half_precision_in_place(bench, assert_close):
    node = make(bench, NEOX, BASE, type="F16")
    expected = expect(bench, node, NEOX, BASE)
    node.buffer = node.src[0].buffer
    assert_close(bench.run(node), expected, 1e-6)


def test_position_zero_changes_nothing(bench):
    node = make(bench, NEOX, BASE, positions=np.zeros(TOKENS))
    assert np.array_equal(bench.run(node), bench.numbers(node.src[0]))


def test_large_positions_keep_their_angle(bench, assert_close):
    node = make(bench, NEOX, BASE, positions=[131071, 1000000, 65536, 4097, 12345])
    assert_close(bench.run(node), expect(bench, node, NEOX, BASE), 1e-12)


REFUSALS = [
    (1, {}, "mode is 1, expected one of 0, 2, 8, 24, 40"),
    (16, {}, "mode is 16, expected one of 0, 2, 8, 24, 40"),
    (NEOX, {"n_dims": 15}, "n_dims is 15, expected even, above 0 and at most src[0].ne[0]"),
    (NEOX, {"n_dims": 0}, "n_dims is 0, expected even, above 0 and at most src[0].ne[0]"),
    (NEOX, {"n_dims": 34}, "n_dims is 34, expected even, above 0 and at most src[0].ne[0]"),
    (NEOX, {"n_offs": 18}, "n_offs is 18, expected even, at least 0 and at most src[0].ne[0] - n_dims"),
    (NEOX, {"n_offs": -2}, "n_offs is -2, expected even, at least 0 and at most src[0].ne[0] - n_dims"),
    (VISION, {"n_dims": 8, "sections": (4, 4, 0, 0)}, "n_dims is 8, expected src[0].ne[0] / 2 in mode 24"),
    (
        MROPE, {},
        "sections is [0, 0, 0, 0], expected at least 0, one of the first three above 0, "
        "the sum at most src[0].ne[0]",
    ),
    (
        MROPE, {"sections": (4, -4, 0, 0)},
        "sections is [4, -4, 0, 0], expected at least 0, one of the first three above 0, "
        "the sum at most src[0].ne[0]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "change", "sentence"), REFUSALS)
def test_refused_parameters(bench, mode, change, sentence):
    node = make(bench, mode, BASE | change)
    assert bench.refusal(node) == f"GRAPH_COMPUTE: {sentence} [ROPE 'y']"


def test_refused_sources(bench):
    node = make(bench, NEOX, BASE)
    a, pos, _ = node.src
    rule = "expected src[0].ne[2], or four times that in modes 8, 24 and 40"
    node.src = (a, bench.leaf("I32", TOKENS - 1))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: src[1].ne[0] is 4, {rule} [ROPE 'y']"
    node.src = (a, pos, bench.leaf("F32", 7))
    rule = "expected at least the number of pairs: n_dims / 2, or n_dims in mode 24"
    assert bench.refusal(node) == f"GRAPH_COMPUTE: src[2].ne[0] is 7, {rule} [ROPE 'y']"
    node.src = (a, pos, bench.leaf("F32", 8))
    bench.check(node)
    node = make(bench, VISION, BASE | {"sections": (8, 8, 0, 0)})
    node.src = (node.src[0], node.src[1], bench.leaf("F32", 15))
    assert bench.refusal(node) == f"GRAPH_COMPUTE: src[2].ne[0] is 15, {rule} [ROPE 'y']"
    node = make(bench, NEOX, BASE, d=33)
    assert bench.refusal(node) == "GRAPH_COMPUTE: src[0].ne[0] is 33, expected even [ROPE 'y']"
