"""The child process of stock.py: the stock client, driven by one JSON line per job.

Reads a job from standard input, writes one JSON line with the result to standard output; arrays travel in .npz files.
The stock client ends its process on many faults, which is why it has a process of its own. Needs LLAMA_CPP_LIB_PATH
and the binding on the module path (build_stock.Stock.environment); imports nothing of this repository.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

F32 = 0  # ggml_type


class InitParams(ctypes.Structure):
    """ggml_init_params of ggml.h."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


P, N, L, Z = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t
GGML_BASE = {
    "ggml_backend_reg_get_proc_address": (P, [P, ctypes.c_char_p]),
    "ggml_backend_reg_dev_count": (Z, [P]),
    "ggml_backend_reg_dev_get": (P, [P, Z]),
    "ggml_backend_dev_init": (P, [P, ctypes.c_char_p]),
    "ggml_backend_free": (None, [P]),
    "ggml_backend_alloc_ctx_tensors": (P, [P, P]),
    "ggml_backend_buffer_free": (None, [P]),
    "ggml_backend_tensor_set": (None, [P, P, Z, Z]),
    "ggml_backend_tensor_get": (None, [P, P, Z, Z]),
    "ggml_backend_graph_compute": (N, [P, P]),
    "ggml_init": (P, [InitParams]),
    "ggml_free": (None, [P]),
    "ggml_new_tensor_2d": (P, [P, N, L, L]),
    "ggml_mul_mat": (P, [P, P, P]),
    "ggml_new_graph": (P, [P]),
    "ggml_build_forward_expand": (None, [P, P]),
}
GGML_REGISTRY = {
    "ggml_backend_reg_by_name": (P, [ctypes.c_char_p]),
    "ggml_backend_register": (None, [P]),
}


class Ggml:
    """The functions of ggml that the binding does not declare."""

    def __init__(self, folder: Path) -> None:
        for stem, functions in (("ggml-base", GGML_BASE), ("ggml", GGML_REGISTRY)):
            names = [f"lib{stem}.so", f"lib{stem}.dylib", f"{stem}.dll", f"lib{stem}.dll"]
            path = next(folder / name for name in names if (folder / name).exists())
            library = ctypes.CDLL(str(path))
            for name, (restype, argtypes) in functions.items():
                function = getattr(library, name)
                function.restype, function.argtypes = restype, argtypes
                setattr(self, name, function)


class Worker:
    """Answers jobs; holds at most one model."""

    def __init__(self) -> None:
        self.ggml: Any = Ggml(Path(os.environ["LLAMA_CPP_LIB_PATH"]))
        llama_cpp.llama_backend_init()
        self.registries: dict[str, int] = {}
        self.model: Any = None
        self.ctx: Any = None

    def devices(self, endpoints: list[str]) -> list[int]:
        """Devices behind endpoints; an endpoint is registered on its first use and connects then."""
        found = []
        for endpoint in endpoints:
            if endpoint not in self.registries:
                rpc = self.ggml.ggml_backend_reg_by_name(b"RPC")
                name = b"ggml_backend_rpc_add_server"
                address = self.ggml.ggml_backend_reg_get_proc_address(rpc, name)
                add_server = ctypes.CFUNCTYPE(P, ctypes.c_char_p)(address)
                registry = add_server(endpoint.encode())
                if not registry:
                    raise RuntimeError(f"{endpoint}: no devices")
                self.ggml.ggml_backend_register(registry)
                self.registries[endpoint] = registry
            registry = self.registries[endpoint]
            count = self.ggml.ggml_backend_reg_dev_count(registry)
            found += [self.ggml.ggml_backend_reg_dev_get(registry, i) for i in range(count)]
        return found

    def load(self, job: dict[str, Any]) -> dict[str, Any]:
        """Open a model and a context; the devices of `endpoints` share the layers equally."""
        self.unload({})
        devices = self.devices(job["endpoints"])
        array = (P * (len(devices) + 1))(*devices, None)
        shares = (ctypes.c_float * llama_cpp.llama_max_devices())(*[1.0] * len(devices))
        params = llama_cpp.llama_model_default_params()
        params.devices = ctypes.cast(array, P)  # an empty list means the CPU of this process
        params.n_gpu_layers = job["n_gpu_layers"]
        params.split_mode = llama_cpp.LLAMA_SPLIT_MODE_LAYER
        params.tensor_split = shares
        params.use_extra_bufts = False
        start = time.monotonic()
        self.model = llama_cpp.llama_model_load_from_file(job["model"].encode(), params)
        if not self.model:
            raise RuntimeError(f"model {job['model']} was not loaded")
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = job["n_ctx"]
        context.n_batch = context.n_ubatch = min(job["n_ctx"], 512)
        context.n_threads = context.n_threads_batch = job["n_threads"]
        context.flash_attn_type = int(job["flash"])
        context.type_k, context.type_v = job["type_k"], job["type_v"]
        self.ctx = llama_cpp.llama_init_from_model(self.model, context)
        if not self.ctx:
            raise RuntimeError("the context was refused")
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        return {
            "seconds": time.monotonic() - start,
            "n_devices": len(devices),
            "n_vocab": self.n_vocab,
        }

    def unload(self, job: dict[str, Any]) -> dict[str, Any]:
        """Free the context and the model; nothing when there is none."""
        if self.ctx:
            llama_cpp.llama_free(self.ctx)
        if self.model:
            llama_cpp.llama_model_free(self.model)
        self.model = self.ctx = None
        return {}

    def decode(self, tokens: list[int], first: int, *, all_logits: bool) -> None:
        """Run one batch at positions from `first` on."""
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = first + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = all_logits or i == len(tokens) - 1
        batch.n_tokens = len(tokens)
        status = llama_cpp.llama_decode(self.ctx, batch)
        llama_cpp.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode answered {status}")

    def logits(self, rows: int) -> np.ndarray:
        """Copy of the logits of the last batch, shape (rows, n_vocab)."""
        pointer = ctypes.cast(llama_cpp.llama_get_logits(self.ctx), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (rows, self.n_vocab)).copy()

    def clear(self) -> None:
        """Empty the KV cache, so that the next batch starts at position 0."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.ctx), True)

    def generate(self, job: dict[str, Any]) -> dict[str, Any]:
        """Prompt, then tokens one at a time: those of `forced`, else the most likely ones."""
        self.clear()
        prompt, forced = job["prompt"], job["forced"]
        self.decode(prompt, 0, all_logits=True)
        rows = [self.logits(len(prompt))]
        tokens = []
        for i in range(job["n_tokens"]):
            best = int(rows[-1][-1].argmax())
            tokens.append(best)
            self.decode([forced[i] if forced else best], len(prompt) + i, all_logits=False)
            rows.append(self.logits(1))
        np.savez(job["out"], logits=np.concatenate(rows), tokens=np.array(tokens))
        return {}

    def timed(self, job: dict[str, Any]) -> dict[str, Any]:
        """Seconds of one prompt batch, or of single tokens after `depth` positions; logits are read each time."""
        rng = np.random.default_rng(job["seed"])
        tokens = rng.integers(0, self.n_vocab, job["depth"] + job["n_prompt"] + job["n_tokens"])
        tokens = tokens.tolist()
        self.clear()
        done = job["depth"]
        if done:
            self.decode(tokens[:done], 0, all_logits=False)
            self.logits(1)
        start = time.perf_counter()
        if job["n_prompt"]:
            self.decode(tokens[done : done + job["n_prompt"]], done, all_logits=False)
            self.logits(1)
        for i in range(job["n_tokens"]):
            at = done + job["n_prompt"] + i
            self.decode(tokens[at : at + 1], at, all_logits=False)
            self.logits(1)
        return {"seconds": time.perf_counter() - start}

    def mul_mat(self, job: dict[str, Any]) -> dict[str, Any]:
        """One MUL_MAT on the first device of `endpoints`; arrays `weight` (bytes) and `x` (f32) from the file."""
        g = self.ggml
        arrays = np.load(job["arrays"])
        weight, x = np.ascontiguousarray(arrays["weight"]), np.ascontiguousarray(arrays["x"])
        columns, k = x.shape
        backend = g.ggml_backend_dev_init(self.devices(job["endpoints"])[0], None)
        ctx = g.ggml_init(InitParams(1 << 20, None, True))
        a = g.ggml_new_tensor_2d(ctx, job["type"], k, job["rows"])
        b = g.ggml_new_tensor_2d(ctx, F32, k, columns)
        product = g.ggml_mul_mat(ctx, a, b)
        graph = g.ggml_new_graph(ctx)
        g.ggml_build_forward_expand(graph, product)
        buffer = g.ggml_backend_alloc_ctx_tensors(ctx, backend)
        g.ggml_backend_tensor_set(a, weight.ctypes.data, 0, weight.nbytes)
        g.ggml_backend_tensor_set(b, x.ctypes.data, 0, x.nbytes)
        status = g.ggml_backend_graph_compute(backend, graph)
        y = np.empty((columns, job["rows"]), np.float32)
        g.ggml_backend_tensor_get(product, y.ctypes.data, 0, y.nbytes)
        g.ggml_backend_buffer_free(buffer)
        g.ggml_free(ctx)
        g.ggml_backend_free(backend)
        if status != 0:
            raise RuntimeError(f"graph status is {status}")
        np.savez(job["out"], y=y)
        return {}


def main() -> None:
    """Serve jobs until standard input ends."""
    # Stock code may print to standard output; the answers get a file descriptor of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = getattr(worker, job["job"])(job)
        except (RuntimeError, OSError, ValueError) as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
