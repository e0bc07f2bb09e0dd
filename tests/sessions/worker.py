"""One session of the stock client of the newest version, in a process of its own.

    python worker.py '{"session": "greedy", "model": "x.gguf", "endpoints": ["127.0.0.1:50053"], ...}'

Needs what tests/upstream/stock_worker.py needs; imports nothing of this repository but that.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "upstream"))

import llama_cpp
import numpy as np
from stock_worker import F32, InitParams, Worker

P, N, L, Z, F = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t, ctypes.c_float
TRAINING = {
    "ggml_new_tensor_1d": (P, [P, N, L]),
    "ggml_set_param": (None, [P]),
    "ggml_set_input": (None, [P]),
    "ggml_set_output": (None, [P]),
    "ggml_set_loss": (None, [P]),
    "ggml_set_name": (P, [P, ctypes.c_char_p]),
    "ggml_silu": (P, [P, P]),
    "ggml_cross_entropy_loss": (P, [P, P, P]),
    "ggml_new_graph_custom": (P, [P, Z, ctypes.c_bool]),
    "ggml_build_backward_expand": (None, [P, P, P]),
    "ggml_graph_get_grad": (P, [P, P]),
    "ggml_graph_reset": (None, [P]),
    "ggml_opt_step_adamw": (P, [P] * 6),
}
ADAMW = (0.01, 0.9, 0.999, 1e-8, 0.1, 10.0, 1000.0)
"""Step size, beta1, beta2, epsilon, weight decay, and the two bias corrections of the first step."""


class Session(Worker):
    """What the recorded sessions do."""

    def greedy(self, job: dict[str, Any]) -> None:
        """A prompt in one batch, then the most likely tokens."""
        self.decode(job["prompt"], 0, all_logits=False)
        token = int(self.logits(1)[0].argmax())
        for i in range(job["n_tokens"]):
            self.decode([token], len(job["prompt"]) + i, all_logits=False)
            token = int(self.logits(1)[0].argmax())

    def perplexity(self, job: dict[str, Any]) -> None:
        """Chunks of text, all logits of each."""
        for chunk in np.array_split(job["prompt"], 2):
            self.clear()
            self.decode(chunk.tolist(), 0, all_logits=True)
            self.logits(len(chunk))

    def batch(self, tokens: list[int], positions: list[int], sequences: list[int]) -> None:
        """One batch of several sequences, logits of all tokens."""
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        for i, (token, at, sequence) in enumerate(zip(tokens, positions, sequences)):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, at, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = True
        batch.n_tokens = len(tokens)
        status = llama_cpp.llama_decode(self.ctx, batch)
        llama_cpp.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode answered {status}")

    def sequences(self, job: dict[str, Any]) -> None:
        """Two prompts at once, then a token of each per batch."""
        n = len(job["prompt"]) // 2
        self.batch(job["prompt"][: 2 * n], [*range(n)] * 2, [0] * n + [1] * n)
        rows = self.logits(2 * n)
        tokens = [int(rows[n - 1].argmax()), int(rows[-1].argmax())]
        for i in range(job["n_tokens"]):
            self.batch(tokens, [n + i] * 2, [0, 1])
            tokens = self.logits(2).argmax(1).tolist()

    def embeddings(self, job: dict[str, Any]) -> None:
        """The mean of what the model makes of a text, without logits."""
        self.decode(job["prompt"], 0, all_logits=True)
        found = llama_cpp.llama_get_embeddings_seq(self.ctx, 0)
        if not found:
            raise RuntimeError("no embeddings")

    def two_contexts(self, job: dict[str, Any]) -> None:
        """Two contexts of one model take turns on one device."""
        first = self.ctx
        self.ctx = llama_cpp.llama_init_from_model(self.model, self.context_params)
        both = [first, self.ctx]
        for ctx in both:
            self.ctx = ctx
            self.decode(job["prompt"], 0, all_logits=False)
        for i in range(job["n_tokens"]):
            for ctx in both:
                self.ctx = ctx
                token = int(self.logits(1)[0].argmax())
                self.decode([token], len(job["prompt"]) + i, all_logits=False)
                self.logits(1)
        llama_cpp.llama_free(both[1])
        self.ctx = first

    def training(self, job: dict[str, Any]) -> None:
        """Forward, backward and an optimizer step of a layer with a loss, three times."""
        g = self.ggml
        library = ctypes.CDLL(str(next(Path(job["libraries"]).glob("libggml-base.*"))))
        for name, (restype, argtypes) in TRAINING.items():
            function = getattr(library, name)
            function.restype, function.argtypes = restype, argtypes
            setattr(g, name, function)
        k, rows, columns = 32, 16, 8
        backend = g.ggml_backend_dev_init(self.devices(job["endpoints"])[0], None)
        ctx = g.ggml_init(InitParams(1 << 22, None, True))
        rng = np.random.default_rng(5)
        w, x = g.ggml_new_tensor_2d(ctx, F32, k, rows), g.ggml_new_tensor_2d(ctx, F32, k, columns)
        labels = g.ggml_new_tensor_2d(ctx, F32, rows, columns)
        params = g.ggml_new_tensor_1d(ctx, F32, 7)
        m, v = g.ggml_new_tensor_2d(ctx, F32, k, rows), g.ggml_new_tensor_2d(ctx, F32, k, rows)
        names = zip((w, x, labels, params, m, v), (b"w", b"x", b"labels", b"adamw", b"m", b"v"))
        for tensor, name in names:
            g.ggml_set_name(tensor, name)
        g.ggml_set_param(w)
        out = g.ggml_mul_mat(ctx, w, g.ggml_silu(ctx, x))
        loss = g.ggml_cross_entropy_loss(ctx, out, labels)
        g.ggml_set_loss(loss)
        g.ggml_set_output(loss)
        graph = g.ggml_new_graph_custom(ctx, 256, True)
        g.ggml_build_forward_expand(graph, loss)
        g.ggml_build_backward_expand(ctx, graph, None)
        step = g.ggml_opt_step_adamw(ctx, w, g.ggml_graph_get_grad(graph, w), m, v, params)
        g.ggml_build_forward_expand(graph, step)
        buffer = g.ggml_backend_alloc_ctx_tensors(ctx, backend)
        hot = np.eye(rows, dtype=np.float32)[rng.integers(0, rows, columns)]
        given = {
            w: rng.standard_normal((rows, k)) / 8,
            x: rng.standard_normal((columns, k)),
            labels: hot,
            params: np.array(ADAMW),
            m: np.zeros((rows, k)),
            v: np.zeros((rows, k)),
        }
        for tensor, values in given.items():
            data = np.ascontiguousarray(values, np.float32)
            g.ggml_backend_tensor_set(tensor, data.ctypes.data, 0, data.nbytes)
        g.ggml_graph_reset(graph)
        for tensor, values in ((m, given[m]), (v, given[v])):
            data = np.ascontiguousarray(values, np.float32)
            g.ggml_backend_tensor_set(tensor, data.ctypes.data, 0, data.nbytes)
        got, weights = np.empty(1, np.float32), np.empty((rows, k), np.float32)
        for _ in range(3):
            if g.ggml_backend_graph_compute(backend, graph) != 0:
                raise RuntimeError("the graph was not computed")
            g.ggml_backend_tensor_get(loss, got.ctypes.data, 0, 4)
            print(f"loss {got[0]:.4f}", file=sys.stderr)
        g.ggml_backend_tensor_get(w, weights.ctypes.data, 0, weights.nbytes)
        g.ggml_backend_buffer_free(buffer)
        g.ggml_free(ctx)
        g.ggml_backend_free(backend)


def open_model(session: Session, job: dict[str, Any]) -> None:
    """A model, and the context that the session wants."""
    n_devices = len(session.devices(job["endpoints"]))
    array = (P * (n_devices + 1))(*session.devices(job["endpoints"]), None)
    shares = (F * llama_cpp.llama_max_devices())(*[1.0] * n_devices)
    params = llama_cpp.llama_model_default_params()
    params.devices = ctypes.cast(array, P)
    params.n_gpu_layers = 99
    params.split_mode = llama_cpp.LLAMA_SPLIT_MODE_LAYER
    params.tensor_split = shares
    params.use_extra_bufts = False
    session.model = llama_cpp.llama_model_load_from_file(job["model"].encode(), params)
    context = llama_cpp.llama_context_default_params()
    context.n_ctx = context.n_batch = context.n_ubatch = job["n_ctx"]
    context.n_threads = context.n_threads_batch = 1
    context.flash_attn_type = int(job["flash"])
    context.type_k = context.type_v = job["kv"]
    context.n_seq_max = 2 if job["session"] == "sequences" else 1
    if job["session"] == "embeddings":
        context.embeddings, context.pooling_type = True, llama_cpp.LLAMA_POOLING_TYPE_MEAN
    session.context_params = context
    session.ctx = llama_cpp.llama_init_from_model(session.model, context)
    if not session.ctx:
        raise RuntimeError("the context was refused")
    vocab = llama_cpp.llama_model_get_vocab(session.model)
    session.n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)


def main() -> None:
    """Do one session and end."""
    job = json.loads(sys.argv[1])
    session = Session()
    if job["session"] != "training":
        open_model(session, job)
    getattr(session, job["session"])(job)
    session.unload({})


if __name__ == "__main__":
    main()
