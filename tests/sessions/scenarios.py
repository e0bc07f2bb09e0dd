"""What is recorded: a name, a model, what the client does with it, and how near answers must come.

The first word of a name says what it is about. Bounds are at least four times the largest difference
that was measured between the stock server and ours on its CPU device: both round, each in its own way, the KV cache of
F32 models too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """One recorded session.

    Attributes:
        name: of the file.
        session: method of worker.py.
        model: one of models.SHAPES.
        type: of its weights.
        nmse: bound of computed answers.
        flash: FLASH_ATTN_EXT instead of separate products.
        kv: type of the KV cache.
        n_prompt, n_tokens: length of the prompt, and steps after it.
        servers, devices: how many servers, and devices of each.
        cache: the server keeps uploads on disk, and the client runs twice.
        killed: the client is ended while it uploads.
    """

    name: str
    session: str = "greedy"
    model: str = "tiny"
    type: str = "F32"
    nmse: float = 1e-5
    flash: bool = True
    kv: str = "F16"
    n_prompt: int = 5
    n_tokens: int = 4
    servers: int = 1
    devices: int = 1
    cache: bool = False
    killed: bool = False

    @property
    def plain(self) -> bool:
        """A client of any version can do it: interop/client.cpp, which reads all logits of a prompt."""
        return self.session in ("greedy", "perplexity") and self.kv == "F16"


SCENARIOS = (
    Scenario("greedy-f32"),
    Scenario("greedy-f32-plain", flash=False),
    Scenario("greedy-f16", type="F16"),
    Scenario("greedy-q8_0", type="Q8_0", nmse=5e-3),
    Scenario("greedy-q4_0", type="Q4_0", nmse=5e-3),
    Scenario("greedy-q4_0-512", model="rows512", type="Q4_0", nmse=5e-3),
    Scenario("greedy-q4_k", model="wide", type="Q4_K", nmse=5e-3),
    Scenario("greedy-q6_k", model="wide", type="Q6_K", nmse=1e-2),
    Scenario("recompute", n_prompt=3, n_tokens=16),
    Scenario("contexts-two", session="two_contexts"),
    Scenario("perplexity", session="perplexity", n_prompt=64, n_tokens=0),
    Scenario("sequences-two", session="sequences", n_prompt=12),
    Scenario("moe-f32", model="moe"),
    Scenario("kv-q8_0", kv="Q8_0", nmse=1e-3),
    Scenario("embeddings", session="embeddings", n_prompt=12),
    Scenario("cache-miss-hit", model="hashed", n_tokens=1, n_prompt=2, cache=True),
    Scenario("devices-two", devices=2),
    Scenario("servers-two", servers=2),
    Scenario("killed-loading", model="hashed", killed=True),
    Scenario("training", session="training"),
)
