"""Norms and softmax against the reference ops."""

from __future__ import annotations

import pytest

from ggmlrpc_core.graph.build import GraphBuilder


@pytest.mark.parametrize("op", ["rms_norm", "norm", "l2_norm"])
@pytest.mark.parametrize("n", [16, 67, 4096])
def test_norms(compare, op, n):
    compare(lambda b: getattr(b, op)(b.new_tensor("F32", n, 3, 2), eps=1e-5), nmse=1e-12)


def test_rms_norm_is_fused_with_its_weight(compare):
    def build(b: GraphBuilder):
        x, w = b.new_tensor("F32", 70, 3), b.new_tensor("F32", 70)
        return b.mul(b.rms_norm(x, eps=1e-5), w)

    compare(build, nmse=1e-12)
    assert compare.records == 1


def test_a_norm_that_somebody_else_reads_is_not_fused(compare):
    def build(b: GraphBuilder):
        x, w = b.new_tensor("F32", 70, 3), b.new_tensor("F32", 70)
        y = b.rms_norm(x, eps=1e-5)
        return b.add(b.mul(y, w), y)

    compare(build, nmse=1e-12)
    assert compare.records == 3


def test_sum_rows(compare):
    compare(lambda b: b.sum_rows(b.new_tensor("F32", 67, 3, 2)), nmse=1e-12)


@pytest.mark.parametrize("mask", [None, "F16", "F32"])
def test_soft_max(compare, mask):
    def build(b: GraphBuilder):
        x = b.new_tensor("F32", 37, 3, 4, 2)
        m = None if mask is None else b.new_tensor(mask, 37, 3, 1, 2)
        return b.soft_max_ext(x, m, scale=0.3)

    compare(build, nmse=1e-12)


def test_soft_max_with_alibi_and_sinks(compare):
    def build(b: GraphBuilder):
        x, m = b.new_tensor("F32", 37, 3, 6), b.new_tensor("F16", 37, 3)
        return b.soft_max_ext(x, m, scale=0.3, max_bias=8.0, sinks=b.new_tensor("F32", 6))

    compare(build, nmse=1e-12)
