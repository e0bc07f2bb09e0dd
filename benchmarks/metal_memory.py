"""Memory of an MLX device over what was allocated, root and segments counted: `python benchmarks/metal_memory.py`.

Weights, caches and results of a small model are in three buffers, cleared or uploaded as a client does it. A prompt
and some tokens run. Then the memory that the process has taken since before the allocations is compared with the bytes
that were allocated, and so is the most that it ever took: plans and what MLX keeps for later are in both.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import psutil
from ggmlrpc_metal.device import MetalDevice

from ggmlrpc_core.graph.build import allocate, bind, layout, message_order
from ggmlrpc_core.graph.tensor import Tensor
from ggmlrpc_core.testing.decode import Decode, Shape, decode_graph
from ggmlrpc_core.testing.inputs import Inputs
from ggmlrpc_core.testing.run_case import write

GOAL = 1.3
SHAPE = Shape(
    n_layer=8, n_embd=1024, n_head=16, n_head_kv=8, n_ff=3072, n_vocab=16000, n_ctx=4096
)  # fmt: skip


def resident() -> int:
    """Bytes of the process in memory."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """The most that there ever were."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


class Shapes(Inputs):
    """Weights without data, which would be counted."""

    def rand(
        self, ggml_type: str, *ne: int, low: float = -1.0, high: float = 1.0, name: str = ""
    ) -> Tensor:
        """A leaf."""
        return self.new_tensor(ggml_type, *ne, name=name)


def upload(tensor: Tensor, piece: bytes) -> None:
    """Fill a tensor with one piece again and again."""
    for start in range(0, tensor.nbytes, len(piece)):
        write(tensor.buffer, tensor.offset + start, piece[: tensor.nbytes - start])


def place(tensors: Sequence[Tensor], buffer: object, alignment: int) -> None:
    """Put tensors into a buffer, in order."""
    offsets, _ = layout(tensors, alignment)
    bind(tensors, buffer, offsets)


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="on Metal instead of MLX's CPU backend")
    parser.add_argument("--tokens", type=int, default=4)
    args = parser.parse_args()

    with closing(MetalDevice(gpu=args.gpu)) as device:
        noise = np.random.default_rng(1).normal(0, 0.02, 1 << 16).astype(np.float16).tobytes()
        before = resident()
        allocated, buffers = 0, {}
        for first, n_tokens in ((0, 64), *((64 + i, 1) for i in range(args.tokens))):
            b = Shapes(1)
            made: Decode = decode_graph(b, SHAPE, first=first, n_tokens=n_tokens)
            inputs = [made.tokens, made.pos, made.rows, made.mask]
            leafs = message_order(made.outputs)
            weights = [t for t in leafs if t.op == "NONE" and t not in (*inputs, *made.caches)]
            for name, tensors in (("weights", weights), ("caches", made.caches)):
                if name not in buffers:
                    size = layout(tensors, device.alignment)[1]
                    buffers[name] = device.alloc(size)
                    buffers[name].fill(0, size, 0)
                    allocated += size
                place(tensors, buffers[name], device.alignment)
            results = allocate(made.outputs, device)
            for tensor, data in b.data:
                if tensor in inputs:
                    write(tensor.buffer, tensor.offset, data)
            b.data.clear()
            for tensor in weights if first == 0 else ():
                upload(tensor, noise)
            device.prepare(b.graph(*made.outputs)).run(lambda: False)
            if n_tokens > 1:
                allocated += results.size
                kept = results
            else:
                results.free()
        taken = resident() - before
        segments = sum(s.hi - s.lo for one in (*buffers.values(), kept) for s in one.segments)
        print(
            f"allocated {allocated >> 20} MiB, taken {taken >> 20} MiB (segments {segments >> 20}): "
            f"{taken / allocated:.2f}, goal {GOAL}; peak {(peak() - before) / allocated:.2f}"
        )


if __name__ == "__main__":
    main()
