"""A graph of a transformer as clients send it, token by token: for tests and benchmarks of devices.

Rows of the cache are written by SET_ROWS and read back through views of the cache itself, as llama.cpp does; only the
order of the nodes says that writing comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ggmlrpc_core.graph.build_ops import RopeMode
from ggmlrpc_core.graph.tensor import FLAG_OUTPUT, Tensor
from ggmlrpc_core.testing.inputs import Inputs

EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model, in elements.

    Attributes:
        ggml_type: of the weights.
    """

    n_layer: int = 2
    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 128
    n_vocab: int = 96
    n_ctx: int = 64
    ggml_type: str = "F16"

    @property
    def head(self) -> int:
        """Elements of one head."""
        return self.n_embd // self.n_head


@dataclass(frozen=True, slots=True)
class Decode:
    """What the graph reads and gives.

    Attributes:
        tokens, pos, rows, mask: inputs of one batch; `rows` are the places in the cache that it writes.
        caches: keys and values of each layer, one after the other.
        outputs: for GraphBuilder.graph, in the order that keeps writes before reads; the last one is the logits.
    """

    tokens: Tensor
    pos: Tensor
    rows: Tensor
    mask: Tensor
    caches: list[Tensor]
    outputs: list[Tensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    norm: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    ff_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    cache_k: Tensor
    cache_v: Tensor


def decode_graph(b: Inputs, shape: Shape, *, first: int = 0, n_tokens: int = 1) -> Decode:
    """Build the graph of a batch of `n_tokens` that starts at position `first`.

    The weights depend on the seed of `b` and the shape alone.
    """
    s, n = shape, n_tokens
    layers, embedding, final_norm, head = _weights(b, s)
    at = np.arange(first, first + n)
    tokens = b.ids(s.n_vocab, n)
    pos = b.given("I32", at.astype(np.int32))
    rows = b.given("I64", at.astype(np.int64))
    mask = b.given("F16", np.where(np.arange(s.n_ctx) <= at[:, None], 0.0, -np.inf))
    writes: list[Tensor] = []

    def normed(x: Tensor, weight: Tensor) -> Tensor:
        return b.mul(b.rms_norm(x, eps=EPS), weight)

    def turned(w: Tensor, x: Tensor) -> Tensor:
        heads = b.reshape(b.mul_mat(w, x), s.head, w.ne[1] // s.head, n)
        return b.rope_ext(heads, pos, n_dims=s.head, mode=RopeMode.NEOX)

    def cached(cache: Tensor, new: Tensor) -> Tensor:
        writes.append(b.set_rows(cache, new, rows))
        strides = [cache.type.row_size(s.head), cache.nb[1]]
        return b.permute(b.view(cache, s.head, s.n_head_kv, s.n_ctx, nb=strides), 0, 2, 1, 3)

    x = b.get_rows(embedding, tokens)
    for layer in layers:
        h = normed(x, layer.norm)
        q = b.permute(turned(layer.q, h), 0, 2, 1, 3)
        k = cached(layer.cache_k, b.reshape(turned(layer.k, h), layer.k.ne[1], n))
        v = cached(layer.cache_v, b.mul_mat(layer.v, h))
        mixed = b.flash_attn_ext(q, k, v, mask, scale=s.head**-0.5)
        x = b.add(b.mul_mat(layer.out, b.reshape(mixed, s.n_embd, n)), x)
        h = normed(x, layer.ff_norm)
        h = b.swiglu(b.mul_mat(layer.gate, h), b=b.mul_mat(layer.up, h))
        x = b.add(b.mul_mat(layer.down, h), x)
    logits = b.mul_mat(head, normed(x, final_norm))
    logits.flags |= FLAG_OUTPUT
    caches = [cache for layer in layers for cache in (layer.cache_k, layer.cache_v)]
    return Decode(tokens, pos, rows, mask, caches, [*writes, logits])


def _weights(b: Inputs, s: Shape) -> tuple[list[_Layer], Tensor, Tensor, Tensor]:
    """(layers, embedding, last norm, head)."""
    kv = s.head * s.n_head_kv

    def matrix(k: int, m: int) -> Tensor:
        return b.rand(s.ggml_type, k, m, low=-(k**-0.5), high=k**-0.5)

    def vector() -> Tensor:
        return b.rand("F32", s.n_embd, low=0.5, high=1.5)

    def cache() -> Tensor:
        return b.given("F16", np.zeros((s.n_ctx, kv), np.float32))

    layers = [
        _Layer(
            vector(), matrix(s.n_embd, s.n_embd), matrix(s.n_embd, kv), matrix(s.n_embd, kv),
            matrix(s.n_embd, s.n_embd), vector(), matrix(s.n_embd, s.n_ff),
            matrix(s.n_embd, s.n_ff), matrix(s.n_ff, s.n_embd), cache(), cache(),
        )
        for _ in range(s.n_layer)
    ]  # fmt: skip
    return layers, matrix(s.n_embd, s.n_vocab), vector(), matrix(s.n_embd, s.n_vocab)
