"""What GRAPH_RECOMPUTE costs on an MLX device beyond its arithmetic: `python benchmarks/metal_recompute.py [--gpu]`.

A decode graph of 1000 nodes (as llama.cpp counts them, with views), small enough that its arithmetic is little, runs
again and again with new inputs. Arithmetic is what happens in `mx.eval` on the arrays of the graph once they are built:
MLX walks them, allocates results and computes. All the rest of a run is beyond it: checking ids, finding the inputs,
building the arrays by MLX's replay of the compiled function, keeping the results. It is one thread's work, so its
processor time is what counts, which other processes disturb less than the time of a clock. The replay is printed apart:
it is MLX's, not ours.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from contextlib import closing
from time import perf_counter, thread_time
from typing import Any

import numpy as np
from ggmlrpc_metal import executable
from ggmlrpc_metal.device import MetalDevice

from ggmlrpc_core.graph.build import allocate
from ggmlrpc_core.testing.decode import Shape, decode_graph
from ggmlrpc_core.testing.inputs import Inputs
from ggmlrpc_core.testing.run_case import write

GOAL_MS = 3.0


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="on Metal instead of MLX's CPU backend")
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--runs", type=int, default=40)
    args = parser.parse_args()

    import mlx.core as mx

    shape, b = Shape(n_layer=args.layers), Inputs()
    made = decode_graph(b, shape)
    spent = {"eval": 0.0, "replay": 0.0}

    def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arrays: Any) -> Any:
            start = thread_time()
            result = function(*arrays)
            spent[name] += thread_time() - start
            return result

        return call

    with closing(MetalDevice(gpu=args.gpu)) as device:
        allocate(made.outputs, device)
        for tensor, data in b.data:
            write(tensor.buffer, tensor.offset, data)
        graph = b.graph(*made.outputs)
        executable.TOO_LONG = float("inf")  # other work on the machine must not cut a stage
        plan = device.prepare(graph)
        n_stages = len(plan.stages)
        for stage in plan.stages:
            stage._compiled = timed(stage._compiled, "replay")
        whole, beyond, replay = [], [], []
        evaluate = mx.eval
        mx.eval = timed(evaluate, "eval")
        for i in range(args.runs + 3):
            at = i % shape.n_ctx
            write(made.pos.buffer, made.pos.offset, np.int32(at).tobytes())
            write(made.rows.buffer, made.rows.offset, np.int64(at).tobytes())
            spent.update(eval=0.0, replay=0.0)
            start, busy = perf_counter(), thread_time()
            plan.run(lambda: False)
            took, busy = perf_counter() - start, thread_time() - busy
            if i >= 3:  # the first runs trace
                whole.append(took * 1e3)
                beyond.append((busy - spent["eval"]) * 1e3)
                replay.append(spent["replay"] * 1e3)
        mx.eval = evaluate
    print(
        f"{len(graph.work)} computed nodes of {len(graph.nodes)}, {n_stages} stages: "
        f"{statistics.median(whole):.1f} ms by the clock; beyond arithmetic "
        f"{statistics.median(beyond):.2f} ms (best {min(beyond):.2f}), goal {GOAL_MS:.0f} ms; "
        f"of these MLX's replay {statistics.median(replay):.2f} ms (best {min(replay):.2f})"
    )


if __name__ == "__main__":
    main()
