"""Small GGUF models with seeded random weights and no vocabulary, for the stock client.

One architecture family (llama; with `n_expert` above zero what mixtral is to llama.cpp), any weight type that stock
ggml can make. Equal shape, type and seed give the same file. Weights are scaled so that every layer adds to the
residual stream as much as the embedding, and experts are chosen by wide margins: a rounding error then stays a
rounding error instead of becoming another expert.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

TensorData = Callable[[str, str, tuple[int, ...], np.random.Generator], np.ndarray]
"""Makes the values of a tensor: (name, type, NumPy shape, generator) to an array of encoded rows."""

ROUTE_DIRECT, ROUTE_SECOND = 6.0, 4.0
"""Values of a token's two experts in the routing part of its embedding; the other experts' are near 0."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model, in elements.

    Attributes:
        n_embd: row size of most weights; a multiple of 256 for the K types.
        n_ff: row size of the down projection; a multiple of 256.
        n_expert: 0 for a dense model.
    """

    n_layer: int = 4
    n_embd: int = 256
    n_ff: int = 512
    n_head: int = 8
    n_head_kv: int = 2
    n_vocab: int = 1024
    n_ctx: int = 512
    n_expert: int = 0
    n_expert_used: int = 2


LLAMA = Shape()
MOE = Shape(n_expert=8, n_ff=256)
ARCHS = {"llama": LLAMA, "moe": MOE}
BENCH_1B = Shape(
    n_layer=22, n_embd=2048, n_ff=5632, n_head=32, n_head_kv=4, n_vocab=32000, n_ctx=2048
)


class Quantizer:
    """Encodes rows of f32 as any ggml type, with the stock library's own encoder.

    Args:
        library: path of libggml-base.
    """

    def __init__(self, library: Path) -> None:
        self._encode = ctypes.CDLL(str(library)).ggml_quantize_chunk
        self._encode.restype = ctypes.c_size_t
        numbers = (ctypes.c_int64,) * 3  # first element, rows, elements per row
        pointers = (ctypes.c_void_p,) * 2  # from, to; the last one is an importance matrix
        self._encode.argtypes = (ctypes.c_int, *pointers, *numbers, ctypes.c_void_p)

    def __call__(self, ggml_type: str, rows: np.ndarray) -> np.ndarray:
        """Bytes of f32 rows, shape (..., row bytes); F32 and F16 come back as arrays of floats."""
        rows = np.ascontiguousarray(rows, np.float32)
        if ggml_type == "F32":
            return rows
        if ggml_type == "F16":
            return rows.astype(np.float16)
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[ggml_type]]
        out = np.zeros((*rows.shape[:-1], rows.shape[-1] // block * size), np.uint8)
        n_rows = rows.size // rows.shape[-1]
        done = self._encode(
            gguf.GGMLQuantizationType[ggml_type].value,
            rows.ctypes.data,
            out.ctypes.data,
            0,
            n_rows,
            rows.shape[-1],
            None,
        )
        assert done == out.nbytes, (ggml_type, done, out.nbytes)
        return out


def layout(shape: Shape, *, ggml_type: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(name, type, NumPy shape) of every tensor in the order of the file."""
    s, kv = shape, shape.n_embd // shape.n_head * shape.n_head_kv
    yield "token_embd.weight", ggml_type, (s.n_vocab, s.n_embd)
    for i in range(s.n_layer):
        yield f"blk.{i}.attn_norm.weight", "F32", (s.n_embd,)
        yield f"blk.{i}.attn_q.weight", ggml_type, (s.n_embd, s.n_embd)
        yield f"blk.{i}.attn_k.weight", ggml_type, (kv, s.n_embd)
        yield f"blk.{i}.attn_v.weight", ggml_type, (kv, s.n_embd)
        yield f"blk.{i}.attn_output.weight", ggml_type, (s.n_embd, s.n_embd)
        yield f"blk.{i}.ffn_norm.weight", "F32", (s.n_embd,)
        if s.n_expert:
            yield f"blk.{i}.ffn_gate_inp.weight", "F32", (s.n_expert, s.n_embd)
            yield f"blk.{i}.ffn_gate_exps.weight", ggml_type, (s.n_expert, s.n_ff, s.n_embd)
            yield f"blk.{i}.ffn_up_exps.weight", ggml_type, (s.n_expert, s.n_ff, s.n_embd)
            yield f"blk.{i}.ffn_down_exps.weight", ggml_type, (s.n_expert, s.n_embd, s.n_ff)
        else:
            yield f"blk.{i}.ffn_gate.weight", ggml_type, (s.n_ff, s.n_embd)
            yield f"blk.{i}.ffn_up.weight", ggml_type, (s.n_ff, s.n_embd)
            yield f"blk.{i}.ffn_down.weight", ggml_type, (s.n_embd, s.n_ff)
    yield "output_norm.weight", "F32", (s.n_embd,)
    yield "output.weight", ggml_type, (s.n_vocab, s.n_embd)


def random_weight(
    name: str, dims: tuple[int, ...], shape: Shape, rng: np.random.Generator
) -> np.ndarray:
    """The f32 values of one tensor."""
    if name.endswith("norm.weight"):
        return rng.uniform(0.8, 1.2, dims).astype(np.float32)
    if "ffn_gate_inp" in name:
        return np.eye(*dims, dtype=np.float32) * 0.5
    values = rng.standard_normal(dims, np.float32)
    if name != "token_embd.weight":
        values /= np.sqrt(dims[-1])
    if shape.n_expert and name == "token_embd.weight":
        pairs = rng.permuted(np.tile(np.arange(shape.n_expert), (dims[0], 1)), axis=1)[:, :2]
        values[:, : shape.n_expert] *= 0.02
        values[np.arange(dims[0]), pairs[:, 0]] = ROUTE_DIRECT
        values[np.arange(dims[0]), pairs[:, 1]] = ROUTE_SECOND
    if shape.n_expert and ("attn_output" in name or "ffn_down" in name):
        values[..., : shape.n_expert, :] *= 0.02  # what layers add must not change the route
    return values


def tiled_weight(
    dims: tuple[int, ...], ggml_type: str, quantize: Quantizer, rng: np.random.Generator
) -> np.ndarray:
    """An encoded tensor whose rows repeat after 64; quick to make, the speed does not depend on the values."""
    tile = quantize(ggml_type, rng.standard_normal((64, dims[-1]), np.float32) / np.sqrt(dims[-1]))
    rows = int(np.prod(dims[:-1]))
    return np.resize(tile, (rows, tile.shape[-1])).reshape(*dims[:-1], tile.shape[-1])


def write_model(
    path: Path,
    shape: Shape,
    *,
    ggml_type: str,
    quantize: Quantizer,
    seed: int = 0,
    tiled: bool = False,
) -> Path:
    """Write one model.

    Args:
        path: of the GGUF file.
        shape: its sizes.
        ggml_type: of all weights but norms and routers, which are F32.
        quantize: the encoder.
        seed: of all weights.
        tiled: rows repeat; for speed tests only.
    """

    def data(name: str, kind: str, dims: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        if tiled and kind == ggml_type:
            return tiled_weight(dims, kind, quantize, rng)
        return quantize(kind, random_weight(name, dims, shape, rng))

    write_tensors(path, shape, ggml_type=ggml_type, seed=seed, data=data)
    return path


def write_exact_model(
    path: Path, shape: Shape, *, ggml_type: str, quantize: Quantizer, seed: int = 0
) -> Path:
    """Write the weights of write_model(.., ggml_type, seed) as they are after rounding, stored as F32."""
    rounded = {name: kind for name, kind, _ in layout(shape, ggml_type=ggml_type)}

    def data(name: str, kind: str, dims: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        values = random_weight(name, dims, shape, rng)
        quant = gguf.GGMLQuantizationType[rounded[name]]
        return gguf.quants.dequantize(quantize(rounded[name], values), quant).astype(np.float32)

    write_tensors(path, shape, ggml_type="F32", seed=seed, data=data)
    return path


def write_tensors(path: Path, shape: Shape, *, ggml_type: str, seed: int, data: TensorData) -> None:
    """Write a file whose tensors come from `data` one at a time, so that a large one needs little memory."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_rope_dimension_count(shape.n_embd // shape.n_head)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_tokenizer_model("no_vocab")
    if shape.n_expert:
        writer.add_expert_count(shape.n_expert)
        writer.add_expert_used_count(shape.n_expert_used)
    tensors = list(layout(shape, ggml_type=ggml_type))
    for name, kind, dims in tensors:
        quant = gguf.GGMLQuantizationType[kind]
        block, size = gguf.GGML_QUANT_SIZES[quant]
        stored = (*dims[:-1], dims[-1] // block * size)
        writer.add_tensor_info(
            name, stored, np.dtype(np.uint8), int(np.prod(stored)), raw_dtype=quant
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for index, (name, kind, dims) in enumerate(tensors):
        writer.write_tensor_data(data(name, kind, dims, np.random.default_rng((seed, index))))
    writer.close()
