"""Rotary position embedding: ROPE and ROPE_BACK, all modes.

Pairs of elements of a row are turned by an angle that grows with the position and falls with the number of the
pair. A mode says which elements form a pair and, with several position axes, which axis turns which pair.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import f32, i32, op, source
from ggmlrpc_core.ops.rules import same_shape
from ggmlrpc_core.ops.values import constant, floats, wide

NORMAL, NEOX, MROPE, VISION, IMROPE = 0, 2, 8, 24, 40
AXES_BIT = 8
"""Set in modes with four positions for each token."""

PARAMS = [
    i32(1, "n_dims"),
    i32(2, "mode"),
    i32(4, "n_ctx_orig"),
    f32(5, "freq_base"),
    f32(6, "freq_scale"),
    f32(7, "ext_factor"),
    f32(8, "attn_factor"),
    f32(9, "beta_fast"),
    f32(10, "beta_slow"),
    i32(11, "section_0"),
    i32(12, "section_1"),
    i32(13, "section_2"),
    i32(14, "section_3"),
    i32(15, "n_offs"),
]
SOURCES = [
    source("a", "F32", "F16"),
    source("pos", "I32"),
    source("freq_factors", "F32", optional=True),
]


def _check_rope(c: Nodes) -> None:
    same_shape(c)
    a, pos, factors = c.src(0), c.src(1), c.src(2)
    n_dims, mode, n_offs = c.i32(1), c.i32(2), c.i32(15)
    known = (
        (mode == NORMAL) | (mode == NEOX) | (mode == MROPE) | (mode == VISION) | (mode == IMROPE)
    )
    c.require(known, "mode", mode, "one of 0, 2, 8, 24, 40")
    c.require(a.ne[:, 0] % 2 == 0, "src[0].ne[0]", a.ne[:, 0], "even")
    ok = (n_dims > 0) & (n_dims % 2 == 0) & (n_dims <= a.ne[:, 0])
    c.require(ok, "n_dims", n_dims, "even, above 0 and at most src[0].ne[0]")
    ok = (n_offs >= 0) & (n_offs % 2 == 0) & (n_offs + n_dims <= a.ne[:, 0])
    c.require(ok, "n_offs", n_offs, "even, at least 0 and at most src[0].ne[0] - n_dims")
    vision = mode == VISION
    n_pairs = np.where(vision, n_dims, n_dims // 2)
    four_axes = mode & AXES_BIT != 0
    if four_axes.any():
        _check_four_axes(c, four_axes, vision)
    c.require((pos.ne[:, 1:] == 1).all(axis=1), "src[1].ne", pos.ne, "a vector")
    expected = np.where(four_axes, 4, 1) * a.ne[:, 2]
    rule = "src[0].ne[2], or four times that in modes 8, 24 and 40"
    c.require(pos.ne[:, 0] == expected, "src[1].ne[0]", pos.ne[:, 0], rule)
    if factors.present.any():
        ok = (factors.ne[:, 0] >= n_pairs) & (factors.nelements > 0) | ~factors.present
        rule = "at least the number of pairs: n_dims / 2, or n_dims in mode 24"
        c.require(ok, "src[2].ne[0]", factors.ne[:, 0], rule)


def _check_four_axes(c: Nodes, four_axes: np.ndarray, vision: np.ndarray) -> None:
    """What modes with four position axes ask beyond the others."""
    n_dims, n_offs, ne0 = c.i32(1), c.i32(15), c.src(0).ne[:, 0]
    c.require(~vision | (n_dims * 2 == ne0), "n_dims", n_dims, "src[0].ne[0] / 2 in mode 24")
    c.require(~vision | (n_offs == 0), "n_offs", n_offs, "0 in mode 24")
    sections = np.stack([c.i32(slot) for slot in (11, 12, 13, 14)], axis=1)
    ok = (
        (sections >= 0).all(axis=1)
        & (sections[:, :3].sum(axis=1) > 0)
        & (sections.sum(axis=1) <= ne0)
    )
    rule = "at least 0, one of the first three above 0, the sum at most src[0].ne[0]"
    c.require(ok | ~four_axes, "sections", sections, rule)


@lru_cache(maxsize=64)
def pair_table(
    mode: int, n_pairs: int, sections: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """For each pair: the position axis that turns it (int32), and the power of the frequency step (int64)."""
    pairs = np.arange(n_pairs)
    if not mode & AXES_BIT:
        return np.zeros(n_pairs, np.int32), pairs
    sector = pairs % sum(sections)
    starts = np.cumsum([0, *sections[:3]])
    if mode == IMROPE:
        turn = sector % 3
        axes = np.where(sector < 3 * np.array(sections)[turn], turn, 3)
    else:
        axes = np.searchsorted(starts[1:], sector, side="right")
    if mode != VISION:
        return axes.astype(np.int32), pairs
    # Each section of a picture starts anew; where sections start at one place, only the first of them does.
    anew = np.array([start not in starts[:d] for d, start in enumerate(starts.tolist())])
    return axes.astype(np.int32), np.where(anew[axes], sector - starts[axes], pairs)


def yarn_ramp(
    n_pairs: int,
    *,
    n_dims: int,
    n_ctx_orig: int,
    freq_base: float,
    beta_fast: float,
    beta_slow: float,
) -> np.ndarray:
    """How much of each pair keeps its trained frequency: 1 for fast pairs, 0 for slow ones, a slope between."""
    with np.errstate(all="ignore"):
        base, context = np.float64(freq_base), np.float64(n_ctx_orig)
        turns = np.array([beta_fast, beta_slow], np.float64)
        at = n_dims * np.log(context / (turns * 2 * np.pi)) / (2 * np.log(base))
        low = np.maximum(0.0, np.floor(at[0]))
        high = np.minimum(n_dims - 1.0, np.ceil(at[1]))
        slope = (np.arange(n_pairs) - low) / np.maximum(0.001, high - low)
    return 1.0 - np.clip(slope, 0.0, 1.0)


def _angles(xp: Any, pos: Any, factors: Any, p: dict[str, Any], n_pairs: int) -> tuple[Any, Any]:
    """Cosine and sine of every pair of every token, f32 [tokens, 1, n_pairs], scaled by the attention factor."""
    mode, n_dims = p["mode"], p["n_dims"]
    sections = (p["section_0"], p["section_1"], p["section_2"], p["section_3"])
    axes, powers = pair_table(mode, n_pairs, sections)
    steps = np.float64(p["freq_base"]) ** (-2.0 * powers / n_dims)
    positions = pos[0, 0, 0].astype(wide(xp)).reshape(4 if mode & AXES_BIT else 1, -1)
    theta = xp.swapaxes(positions[constant(xp, axes, np.int32)], 0, 1)
    host = np.float64 if wide(xp) == getattr(xp, "float64", None) else np.float32
    theta = theta * constant(xp, steps, host)
    if factors is not None:
        theta = theta / factors[0, 0, 0, :n_pairs].astype(wide(xp))
    scaled = theta * p["freq_scale"]
    magnitude = p["attn_factor"]
    if p["ext_factor"] != 0.0:
        ramp = yarn_ramp(
            n_pairs,
            n_dims=n_dims,
            n_ctx_orig=p["n_ctx_orig"],
            freq_base=p["freq_base"],
            beta_fast=p["beta_fast"],
            beta_slow=p["beta_slow"],
        )
        mix = constant(xp, ramp * p["ext_factor"], host)
        scaled = scaled * (1.0 - mix) + theta * mix
        magnitude = float(magnitude * (1.0 + 0.1 * np.log(1.0 / np.float64(p["freq_scale"]))))
    shape = (scaled.shape[0], 1, n_pairs)
    cos = (xp.cos(scaled) * magnitude).astype(xp.float32)
    sin = (xp.sin(scaled) * magnitude).astype(xp.float32)
    return cos.reshape(shape), sin.reshape(shape)


def _rotate(
    xp: Any, node: Tensor, a: Any, pos: Any, factors: Any, p: dict[str, Any], *, sign: float
) -> Any:
    """Turn the pairs of `n_dims` elements from `n_offs` on; the others are copied."""
    x = floats(xp, a, node.src[0])
    n_offs, mode = p["n_offs"], p["mode"]
    width = x.shape[-1] if mode == VISION else p["n_dims"]
    cos, sin = _angles(xp, pos, factors, p, width // 2)
    sin = sin * sign
    part = x[..., n_offs : n_offs + width]
    if mode == NORMAL:
        first, second = part[..., 0::2], part[..., 1::2]
    else:
        first, second = part[..., : width // 2], part[..., width // 2 :]
    turned = [first * cos - second * sin, first * sin + second * cos]
    if mode == NORMAL:
        middle = xp.stack(turned, axis=-1).reshape(part.shape)
    else:
        middle = xp.concatenate(turned, axis=-1)
    if width == x.shape[-1]:
        return middle
    return xp.concatenate([x[..., :n_offs], middle, x[..., n_offs + width :]], axis=-1)


@op(
    "ROPE",
    sources=SOURCES,
    result=None,
    params=PARAMS,
    check=_check_rope,
    precision="angles in f64, rotation in f32; nmse <= 1e-7 for positions below 4096",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_rope_flt",
)
def rope(xp: Any, node: Tensor, a: Any, pos: Any, freq_factors: Any, **params: Any) -> Any:
    """Turn pairs of each row by angles that depend on the token's position.

    a: [d, heads, tokens, n]; pos: [tokens], or [4 * tokens] axis after axis; freq_factors: one divisor for each pair.
    Modes: 0 pairs neighbours, 2 pairs i with i + n_dims / 2, 8 and 40 like 2 with four position axes (in sections, or
    taking turns), 24 like 8 over the whole row with each section starting anew. ext_factor other than 0 mixes scaled
    and trained frequencies (YaRN).
    """
    return _rotate(xp, node, a, pos, freq_factors, params, sign=1.0)


@op(
    "ROPE_BACK",
    sources=SOURCES,
    result=None,
    params=PARAMS,
    check=_check_rope,
    precision="angles in f64, rotation in f32; nmse <= 1e-7 for positions below 4096",
    since="2024-05-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_rope_flt",
)
def rope_back(
    xp: Any, node: Tensor, gradient: Any, pos: Any, freq_factors: Any, **params: Any
) -> Any:
    """ROPE by the negative angles."""
    return _rotate(xp, node, gradient, pos, freq_factors, params, sign=-1.0)
