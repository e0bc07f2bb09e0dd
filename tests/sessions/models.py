"""Tiny GGUF models whose weights are generated: a recording of their upload holds seeds instead of bytes."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from upstream.models import Shape, write_tensors

from ggmlrpc_core.recording.generate import generated_weight

SEED = "1"
"""Of all models; `ggmlrpc record --weights 1` knows their weights."""

TINY = Shape(n_layer=2, n_embd=64, n_ff=128, n_head=2, n_head_kv=1, n_vocab=64, n_ctx=256)
MOE = Shape(n_layer=2, n_embd=64, n_ff=64, n_head=2, n_head_kv=1, n_vocab=64, n_ctx=256, n_expert=4)
WIDE = Shape(n_layer=1, n_embd=256, n_ff=256, n_head=4, n_head_kv=2, n_vocab=64, n_ctx=256)
"""Rows long enough for the K types."""
ROWS_512 = Shape(n_layer=1, n_embd=512, n_ff=512, n_head=4, n_head_kv=1, n_vocab=64, n_ctx=256)
"""Clients before INIT_TENSOR take quantized rows only in multiples of 512."""
HASHED = Shape(n_layer=1, n_embd=512, n_ff=5632, n_head=8, n_head_kv=2, n_vocab=64, n_ctx=256)
"""Three F32 weights of 11 MiB: clients ask for the hash of what is above 10 MiB."""
SHAPES = {"tiny": TINY, "moe": MOE, "wide": WIDE, "rows512": ROWS_512, "hashed": HASHED}


def write(path: Path, shape: Shape, ggml_type: str) -> Path:
    """Write a model."""

    def data(name: str, kind: str, dims: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        made = generated_weight(SEED, name, ggml_type=kind, ne0=dims[-1])
        assert made is not None, kind
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        octets = b"".join(made.pieces(int(np.prod(dims)) // block * size))
        return np.frombuffer(octets, np.uint8).reshape(*dims[:-1], dims[-1] // block * size)

    write_tensors(path, shape, ggml_type=ggml_type, seed=0, data=data)
    return path
