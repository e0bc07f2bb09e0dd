"""FLASH_ATTN_EXT by MLX's fused attention, where the two mean the same."""

from __future__ import annotations

from typing import Any

from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.ops.values import present
from ggmlrpc_metal.override import Override
from ggmlrpc_metal.overrides.common import core
from ggmlrpc_metal.overrides.weights import (
    Decode,
    decode_by_kernel,
    decode_by_library,
    readable_in_place,
)

MAX_BIAS, SOFTCAP = 1, 2


def _same_meaning(node: Tensor) -> bool:
    """No ALiBi, no cap; k and v share their heads; streams and mask heads are one or all."""
    q, k, v = (present(s) for s in node.src[:3])
    mask = node.src[3] if len(node.src) > 3 else None
    if node.f32(SOFTCAP) != 0.0 or node.f32(MAX_BIAS) > 0.0:
        return False
    if k.ne[2:] != v.ne[2:] or k.ne[3] not in (1, q.ne[3]):
        return False
    return mask is None or (mask.ne[2] in (1, q.ne[2]) and mask.ne[3] in (1, q.ne[3]))


def _kernel_decodes(node: Tensor) -> bool:
    quantized = [s for s in node.src[1:3] if s is not None and s.type.quantized]
    return bool(quantized) and all(map(readable_in_place, quantized)) and _same_meaning(node)


def _keys(mx: Any, raw: Any, tensor: Tensor, decode: Decode) -> Any:
    """Keys or values in the type that they have, quantized ones as f32."""
    if tensor.type.name == "BF16":
        return raw.view(mx.bfloat16)
    return raw if tensor.type.name in ("F16", "F32") else decode(mx, raw, tensor)


def _attention(decode: Decode) -> Any:
    def compute(
        node: Tensor, q: Any, k: Any, v: Any, mask: Any, sinks: Any, *, scale: float, **_: Any
    ) -> Any:
        """Attention in the type of k and v where they agree, else in f32; the result is f32.

        With an f32 query MLX would turn all keys and values into f32, so the query takes their type, as it does in
        ggml's own backends.
        """
        mx = core()
        query, key, value = (present(s) for s in node.src[:3])
        q = _keys(mx, q, query, decode)
        k, v = _keys(mx, k, key, decode), _keys(mx, v, value, decode)
        kind = k.dtype if k.dtype == v.dtype else mx.float32
        q, k, v = q.astype(kind), k.astype(kind), v.astype(kind)
        streams, tokens, n_kv = q.shape[0], q.shape[2], k.shape[2]
        if k.shape[0] != streams:
            k = mx.broadcast_to(k, (streams, *k.shape[1:]))
            v = mx.broadcast_to(v, (streams, *v.shape[1:]))
        if mask is not None:
            mask = mask[:, :, :tokens, :n_kv]
        if sinks is not None:
            sinks = sinks.reshape(-1).astype(kind)
        found = mx.fast.scaled_dot_product_attention(
            q, k, v, scale=scale, mask=None if mask is None else mask.astype(kind), sinks=sinks
        ).astype(mx.float32)
        if mask is not None:
            # A row that sees no key is 0; the fused softmax gives NaN.
            blind = mx.max(mask, axis=-1, keepdims=True) == -float("inf")
            found = mx.where(blind, 0.0, found)
        return found.transpose(0, 2, 1, 3)

    return compute


ATTENTION = (
    Override("FLASH_ATTN_EXT", _kernel_decodes, _attention(decode_by_kernel), needs_gpu=True),
    Override("FLASH_ATTN_EXT", _same_meaning, _attention(decode_by_library)),
)
