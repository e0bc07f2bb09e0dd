"""Optimizer steps: OPT_STEP_ADAMW, OPT_STEP_SGD. The node is a view of the weights."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.table import Nodes
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.declare import Updates, op, source
from ggmlrpc_core.ops.rules import Rule, contiguous, same_shape

ADAMW_PARAMS, SGD_PARAMS = 7, 2


def _check_step(n_params: int, *, slot: int) -> Rule:
    """Everything has the shape of the weights, but the parameters in `slot`."""

    def check(c: Nodes) -> None:
        same_shape(c)
        a, params = c.src(0), c.src(slot)
        for other in range(1, slot):
            s = c.src(other)
            c.require((s.ne == a.ne).all(axis=1), f"src[{other}].ne", s.ne, "src[0].ne")
        # Sources that are written must not overlap themselves.
        contiguous(*range(2, slot))(c)
        ok = params.nelements == n_params
        c.require(ok, f"src[{slot}].ne", params.ne, f"{n_params} elements")

    return check


@op(
    "OPT_STEP_ADAMW",
    sources=[source(n, "F32") for n in ("weights", "gradient", "m", "v", "params")],
    result="F32",
    check=_check_step(ADAMW_PARAMS, slot=4),
    precision="f32; nmse <= 1e-6",
    since="2024-09-20",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_opt_step_adamw_f32",
)
def opt_step_adamw(
    xp: Any, node: Tensor, weights: Any, gradient: Any, m: Any, v: Any, params: Any
) -> Updates:
    """One step of AdamW on the weights and both moments, all in place.

    params: alpha, beta1, beta2, eps, weight decay, correction of m, correction of v.
    m = m * beta1 + g * (1 - beta1); v = v * beta2 + g * g * (1 - beta2);
    w = w * (1 - alpha * decay) - alpha * m * c1 / (sqrt(v * c2) + eps).
    """
    p = params.reshape(-1)
    alpha, beta1, beta2, eps, decay, c1, c2 = (p[i : i + 1] for i in range(ADAMW_PARAMS))
    m = m * beta1 + gradient * (1.0 - beta1)
    v = v * beta2 + gradient * gradient * (1.0 - beta2)
    w = weights * (1.0 - alpha * decay) - alpha * (m * c1) / (xp.sqrt(v * c2) + eps)
    return Updates({-1: w, 2: m, 3: v})


@op(
    "OPT_STEP_SGD",
    sources=[source(n, "F32") for n in ("weights", "gradient", "params")],
    result="F32",
    check=_check_step(SGD_PARAMS, slot=2),
    precision="f32; nmse <= 1e-7",
    since="2025-08-14",
    upstream="ggml-cpu/ops.cpp ggml_compute_forward_opt_step_sgd_f32",
)
def opt_step_sgd(xp: Any, node: Tensor, weights: Any, gradient: Any, params: Any) -> Any:
    """w * (1 - alpha * decay) - alpha * gradient; params: alpha, weight decay."""
    p = params.reshape(-1)
    alpha, decay = p[0:1], p[1:2]
    return weights * (1.0 - alpha * decay) - alpha * gradient
