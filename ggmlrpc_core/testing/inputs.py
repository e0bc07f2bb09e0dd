"""Inputs of op cases: tensors with seeded data, and the shape of a case.

A case is a function that builds a small graph; the data of its leafs is drawn from a seed, so that a case means the
same bytes on every machine and over every transport. Knows no device.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ggmlrpc_core import quants
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.graph.build import GraphBuilder
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.graph.views import RAW_DTYPE

EXACT = 0.0
"""Bound of results that are copies, ids or counts."""


class Inputs(GraphBuilder):
    """A graph builder whose leafs have data.

    Attributes:
        data: raw bytes (uint8) of every leaf, in the order of creation.
        rng: seeded.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.data: list[tuple[Tensor, np.ndarray]] = []
        self.rng = np.random.default_rng(seed)

    def given(self, ggml_type: str, values: np.ndarray, *, name: str = "") -> Tensor:
        """A leaf with these values; the shape is NumPy order."""
        t = self.new_tensor(ggml_type, *values.shape[::-1], name=name)
        self.data.append((t, encoded(ggml_type, values)))
        return t

    def rand(
        self, ggml_type: str, *ne: int, low: float = -1.0, high: float = 1.0, name: str = ""
    ) -> Tensor:
        """A leaf of uniform values, or of random blocks for a type that nobody can quantize into."""
        kind = TYPES[ggml_type]
        if kind.quantized and not quantizable(ggml_type):
            t = self.new_tensor(ggml_type, *ne, name=name)
            self.data.append((t, random_blocks(self.rng, ggml_type, t.nbytes // kind.type_size)))
            return t
        values = self.rng.uniform(low, high, ne[::-1]).astype(np.float32)
        return self.given(ggml_type, values, name=name)

    def ids(self, limit: int, *ne: int, ggml_type: str = "I32", distinct: bool = False) -> Tensor:
        """A leaf of ids in [0, limit); `distinct` within each row."""
        rows = int(np.prod(ne[1:], dtype=np.int64))
        drawn = [
            self.rng.permutation(limit)[: ne[0]] if distinct else self.rng.integers(0, limit, ne[0])
            for _ in range(rows)
        ]
        return self.given(ggml_type, np.array(drawn).reshape(ne[::-1]), name="ids")

    def causal_mask(self, n_kv: int, n_tok: int, *, ggml_type: str = "F16") -> Tensor:
        """0 where a token may look, -inf elsewhere; the last token sees everything."""
        column, row = np.arange(n_kv)[None, :], np.arange(n_tok)[:, None]
        values = np.where(column <= row + n_kv - n_tok, 0.0, -np.inf).astype(np.float32)
        return self.given(ggml_type, values, name="mask")


@dataclass(frozen=True, slots=True)
class Case:
    """One small graph and how near a device must come to the reference.

    Attributes:
        name: starts with the op, "MUL_MAT/Q4_0 k=256 m=16 n=1".
        build: makes the graph with an Inputs, its only argument; returns the outputs to compare.
        nmse: bound of the normalised mean square error of each output; 0 for equality.
        compare: "values" in order, or "sorted" within rows (TOP_K).
    """

    name: str
    build: Callable[..., Tensor | Sequence[Tensor]]
    nmse: float
    compare: Literal["values", "sorted"] = "values"

    @property
    def op(self) -> str:
        """The op that the case is about."""
        return self.name.partition("/")[0]

    def make(self) -> tuple[Inputs, list[Tensor]]:
        """Builder with data, and outputs; the seed is the name."""
        inputs = Inputs(zlib.crc32(self.name.encode()))
        outputs = self.build(inputs)
        return inputs, [outputs] if isinstance(outputs, Tensor) else list(outputs)


def quantizable(ggml_type: str) -> bool:
    """Whether values can be converted into a quantized type."""
    return TYPES[ggml_type].from_f32


def encoded(ggml_type: str, values: np.ndarray) -> np.ndarray:
    """The raw bytes of values in a type."""
    if ggml_type in RAW_DTYPE and ggml_type != "BF16":
        raw = values.astype(RAW_DTYPE[ggml_type])
    else:
        raw = quants.from_f32(np, values.astype(np.float32), TYPES[ggml_type])
    return np.ascontiguousarray(raw).reshape(-1).view(np.uint8)


def random_blocks(rng: np.random.Generator, ggml_type: str, n: int) -> np.ndarray:
    """Blocks of random bytes whose values are finite and of ordinary size."""
    kind = TYPES[ggml_type]
    kept: list[np.ndarray] = []
    count = 0
    while count < n:
        blocks = rng.integers(0, 256, (4 * n + 64, kind.type_size), np.uint8)
        with np.errstate(all="ignore"):
            values = np.abs(quants.to_f32(np, blocks, kind))
            top = values.max(axis=-1)
        good = blocks[np.isfinite(values).all(axis=-1) & (top > 0.1) & (top < 10.0)]
        kept.append(good)
        count += len(good)
    return np.concatenate(kept)[:n].reshape(-1)
