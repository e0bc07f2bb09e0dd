"""Run the client program of a peer: a model, locally or through servers, and what came of it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from interop.build_peers import Built

ALL_LAYERS = 99
TIMEOUT = 300.0
STAGES = ("devices", "loaded", "prefilled", "generated", "freed")
"""Lines of the program, in order."""


@dataclass(frozen=True)
class Run:
    """What a client did.

    Attributes:
        stages: of STAGES, those that were reached.
        n_devices: that it saw, or servers where the version gives no devices; 0 before that stage.
        logits: f32 [positions, n_vocab]; fewer rows, perhaps none, when it did not end well.
        status: exit status; 0 when all went well, negative for a signal.
        output: the end of its error output.
    """

    stages: tuple[str, ...]
    n_devices: int
    logits: np.ndarray
    status: int
    output: str

    @property
    def ok(self) -> bool:
        """It reached the end."""
        return self.status == 0 and self.stages == STAGES

    @property
    def reason(self) -> str:
        """One line that says how far it came and why no further."""
        if self.ok:
            return ""
        reached = self.stages[-1] if self.stages else "nothing"
        lines = [line for line in self.output.splitlines() if line.strip()]
        told = [x for x in lines if any(w in x for w in ("client:", "rror", "ASSERT", "crash"))]
        last = (told or lines or ["no output"])[-1].strip()
        return f"status {self.status} after {reached}: {last[-120:]}"


def run_client(
    built: Built,
    model: Path,
    *,
    n_vocab: int,
    prompt: Sequence[int],
    n_tokens: int,
    endpoints: Sequence[str] = (),
    n_layers: int = ALL_LAYERS,
    flash: bool = False,
    forced: Sequence[int] = (),
) -> Run:
    """Decode a prompt and then n_tokens one by one; a client that hangs is ended after TIMEOUT seconds.

    Args:
        built: whose client.
        model: GGUF file.
        n_vocab: of the model, to shape the logits.
        prompt: token ids.
        n_tokens: steps after the prompt.
        endpoints: servers; none: the CPU of the client.
        n_layers: on the servers, from the last one; ALL_LAYERS includes the output.
        flash: FLASH_ATTN_EXT instead of separate products.
        forced: tokens to feed; empty: the most likely ones.
    """
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        out = Path(folder, "logits")
        command = [
            str(built.client), str(model), str(out), str(n_layers if endpoints else 0),
            str(int(flash)), _csv(endpoints), "2", str(n_tokens), _csv(prompt), _csv(forced),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                env=built.environment(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
            )
            status, lines, output = done.returncode, done.stdout.splitlines(), done.stderr
        except subprocess.TimeoutExpired as late:
            status, lines = 124, _text(late.stdout).splitlines()
            output = f"{_text(late.stderr)}\nclient: silent for {TIMEOUT:.0f} s"
        values = np.fromfile(out, np.float32) if out.exists() else np.zeros(0, np.float32)
    whole = len(values) // n_vocab * n_vocab
    words = [line.split()[0] for line in lines if line.split()]
    devices = next((int(x.split()[1]) for x in lines if x.startswith("devices ")), 0)
    return Run(
        stages=tuple(s for s in STAGES if s in words),
        n_devices=devices,
        logits=values[:whole].reshape(-1, n_vocab),
        status=status,
        output="\n".join(output.splitlines()[-40:]),
    )


def _csv(values: Sequence[object]) -> str:
    return ",".join(map(str, values)) or "-"


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
