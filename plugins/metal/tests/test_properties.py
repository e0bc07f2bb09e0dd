"""Whatever graphs and clients do to a buffer, its bytes are those of a model that knows no segments."""

from __future__ import annotations

import numpy as np
import pytest
from ggmlrpc_metal.device import MetalDevice
from twin import Maker, Twin, compute

STEPS = 8
SEEDS, MORE_SEEDS = range(40), range(40, 600)


def play(device: MetalDevice, seed: int) -> None:
    """Two graphs in any order, with an access after each."""
    rng = np.random.default_rng(seed)
    twin = Twin(device, rng)
    graphs = [Maker(twin).graph(int(rng.integers(3, 16))) for _ in range(2)]
    plans = [device.prepare(ours) for ours, _ in graphs]
    for _ in range(STEPS):
        at = int(rng.integers(0, 2))
        plans[at].run(lambda: False)
        compute(graphs[at][1])
        twin.check()
        twin.access()
    twin.free()


@pytest.mark.parametrize("seed", SEEDS)
def test_bytes_are_those_of_the_model(device: MetalDevice, seed: int):
    play(device, seed)


@pytest.mark.slow
def test_bytes_are_those_of_the_model_for_many_seeds(device: MetalDevice):
    for seed in MORE_SEEDS:
        play(device, seed)
