"""UNARY: 22 functions of one value, chosen by op_params[0]; GLU shares some of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from ggmlrpc_core.ggml.numbering import NEWEST
from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import FLOATS, f32, i32, op, source
from ggmlrpc_core.ops.rules import same_shape
from ggmlrpc_core.ops.values import floats, wide

Function = Callable[[Any, Any], Any]

SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715
GELU_QUICK_SLOPE = 1.702
GELU_IS_ZERO = -10.0
"""From here down GELU is 0 in single precision."""
ERF_IS_ONE = 6.0
"""From here on erf is 1 in double precision."""


@cache
def _erf_series(degree: int = 48) -> tuple[float, ...]:
    """Chebyshev coefficients of erf(x) / x as a function of x * x over [0, ERF_IS_ONE ** 2]."""

    def ratio(t: Any) -> Any:
        x = np.sqrt((t + 1.0) / 2.0) * ERF_IS_ONE
        return np.array([math.erf(v) / v if v else 2.0 / math.sqrt(math.pi) for v in x])

    return tuple(np.polynomial.chebyshev.chebinterpolate(ratio, degree).tolist())


def erf(xp: Any, x: Any) -> Any:
    """The error function; absolute error below 1e-7."""
    if hasattr(xp, "erf"):
        return xp.erf(x)
    bounded = xp.clip(x.astype(wide(xp)), -ERF_IS_ONE, ERF_IS_ONE)
    t = bounded * bounded * (2.0 / ERF_IS_ONE**2) - 1.0
    older, newer = xp.zeros_like(t), xp.zeros_like(t)
    coefficients = _erf_series()
    for coefficient in coefficients[:0:-1]:
        older, newer = newer, 2.0 * t * newer - older + coefficient
    return (bounded * (t * newer - older + coefficients[0])).astype(xp.float32)


def sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + xp.exp(-x))


def silu(xp: Any, x: Any) -> Any:
    """x * sigmoid(x)."""
    return x / (1.0 + xp.exp(-x))


def relu(xp: Any, x: Any) -> Any:
    """x above 0, else 0; NaN is not above."""
    return xp.where(x > 0, x, 0.0)


def gelu(xp: Any, x: Any) -> Any:
    """GELU by tanh; 0 at -infinity."""
    y = 0.5 * x * (1.0 + xp.tanh(SQRT_2_OVER_PI * x * (1.0 + GELU_CUBIC * x * x)))
    return xp.where(x <= GELU_IS_ZERO, 0.0, y)


def gelu_erf(xp: Any, x: Any) -> Any:
    """GELU by its definition."""
    return 0.5 * x * (1.0 + erf(xp, x * math.sqrt(0.5)))


def gelu_quick(xp: Any, x: Any) -> Any:
    """x * sigmoid(1.702 * x)."""
    return x * sigmoid(xp, x * GELU_QUICK_SLOPE)


def _elu(xp: Any, x: Any) -> Any:
    return xp.where(x > 0, x, xp.expm1(x))


def _softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)), and x where the two are equal in f32."""
    return xp.where(x > 20.0, x, xp.log1p(xp.exp(xp.minimum(x, 20.0))))


def _hardsigmoid(xp: Any, x: Any) -> Any:
    y = (x + 3.0) / 6.0
    return xp.minimum(1.0, xp.where(y > 0, y, 0.0))  # 0 for NaN


def _round(xp: Any, x: Any) -> Any:
    """To the nearest integer, halves away from zero."""
    whole = xp.floor(xp.abs(x))
    return xp.sign(x) * xp.where(xp.abs(x) - whole >= 0.5, whole + 1.0, whole)


FUNCTIONS: MappingProxyType[str, Function] = MappingProxyType(
    {
        "ABS": lambda xp, x: xp.abs(x),
        "SGN": lambda xp, x: (x > 0).astype(xp.float32) - (x < 0).astype(xp.float32),
        "NEG": lambda xp, x: -x,
        "STEP": lambda xp, x: (x > 0).astype(xp.float32),
        "TANH": lambda xp, x: xp.tanh(x),
        "ELU": _elu,
        "RELU": relu,
        "SIGMOID": sigmoid,
        "GELU": gelu,
        "GELU_QUICK": gelu_quick,
        "SILU": silu,
        "HARDSWISH": lambda xp, x: x * _hardsigmoid(xp, x),
        "HARDSIGMOID": _hardsigmoid,
        "EXP": lambda xp, x: xp.exp(x),
        "EXPM1": lambda xp, x: xp.expm1(x),
        "SOFTPLUS": _softplus,
        "GELU_ERF": gelu_erf,
        "FLOOR": lambda xp, x: xp.floor(x),
        "CEIL": lambda xp, x: xp.ceil(x),
        "ROUND": _round,
        "TRUNC": lambda xp, x: xp.sign(x) * xp.floor(xp.abs(x)),
    }
)
"""Every function without parameters of its own."""


def _xielu(xp: Any, x: Any, *, alpha_n: float, alpha_p: float, beta: float, eps: float) -> Any:
    """Quadratic above 0, exponential below."""
    below = (xp.expm1(xp.minimum(x, eps)) - x) * alpha_n + beta * x
    return xp.where(x > 0, alpha_p * x * x + beta * x, below)


@cache
def unary_names() -> MappingProxyType[int, str]:
    """Function number to name."""
    return MappingProxyType({number: name for name, number in NEWEST.unary.items()})


def _check_unary(c: Nodes) -> None:
    same_shape(c)
    number = c.i32(0)
    known = len(NEWEST.unary)
    c.require((number >= 0) & (number < known), "unary function", number, f"inside [0, {known})")


@op(
    "UNARY",
    sources=[source("a", *FLOATS)],
    result=FLOATS,
    params=[
        i32(0, "function"),
        f32(1, "alpha_n"),
        f32(2, "alpha_p"),
        f32(3, "beta"),
        f32(4, "eps"),
    ],
    check=_check_unary,
    precision="f32; nmse <= 1e-7 (a backend may take GELU from a table of F16 values)",
    since="2024-05-14",
    upstream="ggml-cpu/unary-ops.cpp, ops.cpp ggml_compute_forward_unary",
)
def unary(
    xp: Any,
    node: Tensor,
    a: Any,
    *,
    function: int,
    alpha_n: float,
    alpha_p: float,
    beta: float,
    eps: float,
) -> Any:
    """One function of each element; the last four parameters belong to XIELU."""
    x = floats(xp, a, node.src[0])
    name = unary_names()[function]
    if name == "XIELU":
        return _xielu(xp, x, alpha_n=alpha_n, alpha_p=alpha_p, beta=beta, eps=eps)
    return FUNCTIONS[name](xp, x)
