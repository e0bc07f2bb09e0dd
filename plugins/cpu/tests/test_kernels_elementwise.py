"""Element-wise kernels against the reference ops."""

from __future__ import annotations

import pytest

from ggmlrpc_core.graph.build import GraphBuilder

UNARY = (
    "ABS", "SGN", "NEG", "STEP", "TANH", "ELU", "RELU", "SIGMOID", "GELU", "GELU_QUICK", "SILU", "HARDSWISH",
    "HARDSIGMOID", "EXP", "EXPM1", "SOFTPLUS", "GELU_ERF", "FLOOR", "CEIL", "ROUND", "TRUNC",
)  # fmt: skip
OFTEN = ("SILU", "GELU", "SOFTPLUS")


@pytest.mark.parametrize(
    ("ne", "other"),
    [
        ((64, 3, 2, 2), (64, 3, 2, 2)),
        ((17, 5, 3, 2), (17, 1, 3, 1)),
        ((24, 4, 1, 1), (8, 2, 1, 1)),
        ((33, 2, 2, 1), (1, 1, 1, 1)),
        ((9000, 2, 1, 1), (9000, 1, 1, 1)),
    ],
)
def test_add_tiles(compare, ne, other):
    compare(lambda b: b.add(b.new_tensor("F32", *ne), b.new_tensor("F32", *other)), nmse=0)


@pytest.mark.parametrize("op", ["sub", "mul", "div"])
def test_arithmetic(compare, op):
    def build(b: GraphBuilder):
        return getattr(b, op)(b.new_tensor("F32", 70, 3), b.new_tensor("F32", 70, 1))

    compare(build, nmse=0)


def test_add_of_a_strided_view_in_place(compare):
    def build(b: GraphBuilder):
        x = b.new_tensor("F32", 50, 6, name="x")
        part = b.view(x, 20, 6, nb=(x.nb[1],), offset=40)
        return b.add(part, b.new_tensor("F32", 20, 6), inplace=True)

    compare(build, nmse=0)


def test_scale_and_clamp(compare):
    def build(b: GraphBuilder):
        return b.clamp(b.scale(b.new_tensor("F32", 37, 3), 2.5), -1.0, 1.5)

    compare(build, nmse=1e-12)


@pytest.mark.parametrize(
    "function", [f if f in OFTEN else pytest.param(f, marks=pytest.mark.slow) for f in UNARY]
)
def test_unary(compare, function):
    compare(lambda b: b.unary(b.new_tensor("F32", 67, 5), function), nmse=1e-11)


@pytest.mark.parametrize("swapped", [False, True])
def test_swiglu_of_halves(compare, swapped):
    compare(lambda b: b.swiglu(b.new_tensor("F32", 140, 5), swapped=swapped), nmse=1e-11)


def test_swiglu_of_two(compare):
    def build(b: GraphBuilder):
        return b.swiglu(b.new_tensor("F32", 70, 5), b=b.new_tensor("F32", 70, 5))

    compare(build, nmse=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["REGLU", "GEGLU", "GEGLU_ERF", "GEGLU_QUICK"])
def test_glu(compare, function):
    compare(lambda b: b.glu(b.new_tensor("F32", 140, 5), function), nmse=1e-10)


def test_swiglu_oai(compare):
    def build(b: GraphBuilder):
        x, y = b.new_tensor("F32", 70, 5), b.new_tensor("F32", 70, 5)
        return b.swiglu_oai(x, y, alpha=1.702, limit=0.7)

    compare(build, nmse=1e-11)
