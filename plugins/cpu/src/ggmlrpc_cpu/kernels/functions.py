"""The 22 functions of UNARY on 16 lanes: `function(x, record)`; a record only for those with parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ggmlrpc_cpu.inline import inline
from ggmlrpc_cpu.kernels.access import param_f32
from ggmlrpc_cpu.simd import (
    absolute,
    ceil,
    copysign,
    erf_f32x16,
    exp_f32x16,
    expm1_f32x16,
    floor,
    log_f32x16,
    minimum,
    select_less,
    select_nan,
    sigmoid_f32x16,
    splat_f32x16,
    tanh_f32x16,
    trunc,
    zero_f32x16,
)

HALF, ONE = np.float32(0.5), np.float32(1)
SQRT_2_OVER_PI, GELU_CUBE = np.float32(0.79788456080286535588), np.float32(0.044715)
GELU_IS_ZERO = np.float32(-10)
SQRT_HALF, GELU_QUICK_SCALE = np.float32(0.70710678118654752440), np.float32(1.702)


@inline
def abs_(x: Any, rec: Any) -> Any:
    return absolute(x)


@inline
def sgn(x: Any, rec: Any) -> Any:
    one, zero = splat_f32x16(ONE), zero_f32x16()
    return select_less(zero, x, one, select_less(x, zero, splat_f32x16(-ONE), zero))


@inline
def neg(x: Any, rec: Any) -> Any:
    return x * -ONE


@inline
def step(x: Any, rec: Any) -> Any:
    return select_less(zero_f32x16(), x, splat_f32x16(ONE), zero_f32x16())


@inline
def tanh(x: Any, rec: Any) -> Any:
    return tanh_f32x16(x)


@inline
def elu(x: Any, rec: Any) -> Any:
    return select_less(zero_f32x16(), x, x, expm1_f32x16(x))


@inline
def relu(x: Any, rec: Any) -> Any:
    return select_less(zero_f32x16(), x, x, zero_f32x16())


@inline
def sigmoid(x: Any, rec: Any) -> Any:
    return sigmoid_f32x16(x)


@inline
def gelu(x: Any, rec: Any) -> Any:
    inner = x * SQRT_2_OVER_PI * (x * x * GELU_CUBE + ONE)
    y = x * HALF * (tanh_f32x16(inner) + ONE)
    return select_less(x, splat_f32x16(GELU_IS_ZERO), zero_f32x16(), y)


@inline
def gelu_quick(x: Any, rec: Any) -> Any:
    return x * sigmoid_f32x16(x * GELU_QUICK_SCALE)


@inline
def silu(x: Any, rec: Any) -> Any:
    return x / (exp_f32x16(x * -ONE) + ONE)


@inline
def hardswish(x: Any, rec: Any) -> Any:
    return x * hardsigmoid(x, rec)


@inline
def hardsigmoid(x: Any, rec: Any) -> Any:
    y = (x + np.float32(3)) / np.float32(6)
    return minimum(splat_f32x16(ONE), select_less(zero_f32x16(), y, y, zero_f32x16()))


@inline
def exp(x: Any, rec: Any) -> Any:
    return exp_f32x16(x)


@inline
def expm1(x: Any, rec: Any) -> Any:
    return expm1_f32x16(x)


@inline
def softplus(x: Any, rec: Any) -> Any:
    """log(1 + e^x); x above 20. For small e^x the sum loses digits, so log1p is corrected by them."""
    e = exp_f32x16(minimum(x, splat_f32x16(np.float32(20))))
    u = e + ONE
    y = log_f32x16(u) + (e - (u - ONE)) / u
    return select_nan(x, x, select_less(splat_f32x16(np.float32(20)), x, x, y))


@inline
def gelu_erf(x: Any, rec: Any) -> Any:
    return x * HALF * (erf_f32x16(x * SQRT_HALF) + ONE)


@inline
def xielu(x: Any, rec: Any) -> Any:
    a_n, a_p = param_f32(rec, 1), param_f32(rec, 2)
    beta, eps = param_f32(rec, 3), param_f32(rec, 4)
    above = x * x * a_p + x * beta
    below = (expm1_f32x16(minimum(x, splat_f32x16(eps))) - x) * a_n + x * beta
    return select_less(zero_f32x16(), x, above, below)


@inline
def floor_(x: Any, rec: Any) -> Any:
    return floor(x)


@inline
def ceil_(x: Any, rec: Any) -> Any:
    return ceil(x)


@inline
def round_(x: Any, rec: Any) -> Any:
    """To the nearest, halves away from zero."""
    t = trunc(x)
    away = select_less(absolute(x - t), splat_f32x16(HALF), zero_f32x16(), splat_f32x16(ONE))
    return copysign(t + copysign(away, x), x)


@inline
def trunc_(x: Any, rec: Any) -> Any:
    return trunc(x)


UNARY_FUNCTIONS: dict[str, Any] = {
    "ABS": abs_, "SGN": sgn, "NEG": neg, "STEP": step, "TANH": tanh, "ELU": elu, "RELU": relu, "SIGMOID": sigmoid,
    "GELU": gelu, "GELU_QUICK": gelu_quick, "SILU": silu, "HARDSWISH": hardswish, "HARDSIGMOID": hardsigmoid,
    "EXP": exp, "EXPM1": expm1, "SOFTPLUS": softplus, "GELU_ERF": gelu_erf, "XIELU": xielu, "FLOOR": floor_,
    "CEIL": ceil_, "ROUND": round_, "TRUNC": trunc_,
}  # fmt: skip
"""By ggml's names; read only."""
