"""ROPE against the reference op."""

from __future__ import annotations

import numpy as np
import pytest

from ggmlrpc_core.graph.build import GraphBuilder, RopeMode

MODES = [RopeMode.NORMAL, RopeMode.NEOX, RopeMode.MROPE, RopeMode.VISION, RopeMode.IMROPE]


@pytest.mark.parametrize("name", ["F32", "F16"])
@pytest.mark.parametrize("mode", MODES)
def test_modes(compare, mode, name):
    tokens, n = 5, 80
    axes = 4 if mode & 8 else 1
    n_dims = n // 2 if mode == RopeMode.VISION else 72
    sections = (10, 10, 10, 0) if mode & 8 else (0, 0, 0, 0)

    def build(b: GraphBuilder):
        x, pos = b.new_tensor(name, n, 3, tokens), b.new_tensor("I32", tokens * axes, name="pos")
        return b.rope_ext(x, pos, n_dims=n_dims, mode=mode, sections=sections)

    ids = {"pos": np.arange(tokens * axes) * 7}
    compare(build, ids=ids, nmse=1e-11 if name == "F32" else 1e-7)


def test_yarn_and_frequency_factors_in_place(compare):
    def build(b: GraphBuilder):
        x, pos = b.new_tensor("F32", 64, 3, 4, 2), b.new_tensor("I32", 4, name="pos")
        factors = b.unary(b.new_tensor("F32", 32), "ABS")
        return b.rope_ext(
            x,
            pos,
            factors,
            n_dims=64,
            mode=RopeMode.NEOX,
            n_ctx_orig=512,
            freq_scale=0.25,
            ext_factor=1.0,
            attn_factor=1.1,
            inplace=True,
        )

    compare(build, ids={"pos": np.array([0, 3, 500, 2000])}, nmse=1e-11)


def test_angles_are_made_once_for_equal_ropes(compare):
    def build(b: GraphBuilder):
        x, pos = b.new_tensor("F32", 64, 2, 3), b.new_tensor("I32", 3, name="pos")
        once = b.rope_ext(x, pos, n_dims=64)
        return b.rope_ext(once, pos, n_dims=64)

    compare(build, ids={"pos": np.array([1, 2, 9])}, nmse=1e-11)
    assert compare.records == 3
