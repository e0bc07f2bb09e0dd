"""Recurrent layers by one kernel over all tokens: RWKV_WKV6, RWKV_WKV7, GATED_LINEAR_ATTN, GATED_DELTA_NET, SSM_SCAN.

Sequences, tokens and heads are told apart here, and what is done to a whole input at once (exponentials, scales) is
done before the kernel.
"""

from __future__ import annotations

import math
from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import present
from ggmlrpc_metal import kernels
from ggmlrpc_metal.kernels.recurrence import MAX_KEYS
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import core

SLOTS = 0


def _short_rows(node: Tensor) -> bool:
    return present(node.src[0]).ne[0] <= MAX_KEYS


def _last_state_only(node: Tensor) -> bool:
    return node.i32(SLOTS) <= 1 and _short_rows(node)


def _by_sequence(inputs: dict[str, Any], state: Any) -> dict[str, Any]:
    """Raw [1, T, H, S] each as [seqs, tokens, H, S]; the state as [seqs, H, S, S]."""
    _, n_tokens, heads, size = inputs["v"].shape
    seqs = state.shape[2]
    split = {n: x.reshape(seqs, n_tokens // seqs, heads, size) for n, x in inputs.items()}
    return {**split, "state": state.reshape(seqs, heads, size, size)}


def _wkv6(node: Tensor, k: Any, v: Any, r: Any, first: Any, decay: Any, state: Any) -> Any:
    arrays = _by_sequence({"k": k, "v": v, "r": r, "decay": decay}, state)
    arrays["bonus"] = first
    return kernels.scan(core(), "wkv6", arrays).reshape(node.shape)


def _gated_linear(
    node: Tensor, k: Any, v: Any, q: Any, gate: Any, state: Any, *, scale: float
) -> Any:
    arrays = _by_sequence({"k": k, "v": v, "q": q * scale, "gate": gate}, state)
    return kernels.scan(core(), "gated_linear", arrays).reshape(node.shape)


def _wkv7(node: Tensor, r: Any, decay: Any, k: Any, v: Any, a: Any, b: Any, state: Any) -> Any:
    arrays = _by_sequence({"r": r, "decay": decay, "k": k, "v": v, "a": a, "b": b}, state)
    return kernels.scan(core(), "wkv7", arrays).reshape(node.shape)


def _gated_delta(
    node: Tensor, q: Any, k: Any, v: Any, gate: Any, beta: Any, state: Any, **_: int
) -> Any:
    mx = core()
    q = q * (1.0 / math.sqrt(v.shape[3]))
    arrays = {"q": q, "k": k, "v": v, "decay": mx.exp(gate), "beta": beta, "state": state}
    return kernels.scan(mx, "gated_delta", arrays).reshape(node.shape)


def _selective(
    node: Tensor, state: Any, x: Any, dt: Any, a: Any, b: Any, c: Any, ids: Any, **_: int
) -> Any:
    mx = core()
    softplus = mx.logaddexp(dt, mx.zeros_like(dt))
    arrays = {
        "state": state,
        "v": x,
        "dt": softplus,
        "a": a,
        "b": b,
        "c": c,
        "ids": ids.reshape(-1),
    }
    return kernels.scan(mx, "selective", arrays).reshape(node.shape)


RECURRENT = (
    Override("RWKV_WKV6", _short_rows, _wkv6, needs_gpu=True),
    Override("GATED_LINEAR_ATTN", _short_rows, _gated_linear, needs_gpu=True),
    Override("RWKV_WKV7", _short_rows, _wkv7, needs_gpu=True),
    Override("GATED_DELTA_NET", _last_state_only, _gated_delta, needs_gpu=True),
    Override("SSM_SCAN", _last_state_only, _selective, needs_gpu=True),
)
