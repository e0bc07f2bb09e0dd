"""What GRAPH_RECOMPUTE costs on an MLX device beyond its arithmetic: `python benchmarks/metal_recompute.py [--gpu]`.

A decode graph of about 1000 computed nodes, small enough that its arithmetic is little, runs again and again with new
inputs. Arithmetic is what MLX spends in `mx.eval` on the arrays of the graph once they are built: it walks them, allocates
results and computes. All the rest of a run is beyond it: checking ids, finding the inputs, replaying the compiled
function, keeping the results. Both are measured in the same runs; the medians are printed, and the best run.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import closing
from time import perf_counter
from typing import Any

import numpy as np
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
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--runs", type=int, default=40)
    args = parser.parse_args()

    import mlx.core as mx

    shape, b = Shape(n_layer=args.layers), Inputs()
    made = decode_graph(b, shape)
    evaluate, spent = mx.eval, 0.0

    def timed(*arrays: Any) -> None:
        nonlocal spent
        start = perf_counter()
        evaluate(*arrays)
        spent += perf_counter() - start

    with closing(MetalDevice(gpu=args.gpu)) as device:
        allocate(made.outputs, device)
        for tensor, data in b.data:
            write(tensor.buffer, tensor.offset, data)
        graph = b.graph(*made.outputs)
        plan = device.prepare(graph)
        whole, beyond = [], []
        mx.eval = timed
        for i in range(args.runs + 3):
            at = i % shape.n_ctx
            write(made.pos.buffer, made.pos.offset, np.int32(at).tobytes())
            write(made.rows.buffer, made.rows.offset, np.int64(at).tobytes())
            spent = 0.0
            start = perf_counter()
            plan.run(lambda: False)
            took = perf_counter() - start
            if i >= 3:  # the first runs trace
                whole.append(took * 1e3)
                beyond.append((took - spent) * 1e3)
        mx.eval = evaluate
    print(
        f"{len(graph.work)} computed nodes of {len(graph.nodes)}, {len(plan.stages)} stages: "
        f"{statistics.median(whole):.2f} ms, of which beyond arithmetic "
        f"{statistics.median(beyond):.2f} ms (best {min(beyond):.2f}), goal {GOAL_MS:.0f} ms"
    )


if __name__ == "__main__":
    main()
