"""Measure one peer in both directions; a result is cells of text, each with its reason when it is not good.

Its client through our server: a small model of each weight type, all layers remote, half of them, on two devices, on
two servers; the tokens of its own local run are fed, so that logits of every step can be compared. Our client to its
server: the cases of graphs.py against the reference.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from interop.build_peers import Built
from interop.client import ALL_LAYERS, Run, run_client
from interop.graphs import BLOCK, Sent, sent_cases
from interop.headers import differences, read_numbers
from upstream.models import Shape, write_model
from upstream.servers import Running, ServerFailed, own_program

from ggmlrpc_core.client import rpc_init
from ggmlrpc_core.errors import AmbiguousDialect, GgmlRpcError, UnsupportedOp
from ggmlrpc_core.testing.run_case import CaseFailed, expected_of
from ggmlrpc_core.testing.run_remote import run_remote_case
from ggmlrpc_core.wire.dialects import dialect

CUT = 200
"""Characters of a reason that are kept."""
GOOD, ABSENT = "yes", "–"
N_TOKENS = 8
MODEL = Shape(n_embd=512, n_ff=512)
"""Clients before 2025-01 end themselves when a row of quantized weights is no multiple of 512."""
PROMPT = tuple(np.random.default_rng(8).integers(0, MODEL.n_vocab, 36).tolist())
BOUNDS = {"F32": 1e-6, "F16": 1e-4, "Q8_0": 1e-3, "Q4_0": 1e-3}
"""Largest NMSE of the logits to the client's own CPU result; those of tests/upstream/test_models.py."""

GRAPHS_GROW = "2024-09-09"
"""Since this day a server takes graphs larger than its first."""

PLACES = ("all", "half", "two devices", "two servers")
STAGE_CELLS = {"connects": "devices", "loads": "loaded", "prefills": "prefilled", "generates": "generated"}  # fmt: skip


@dataclass
class Result:
    """What was measured of a peer.

    Attributes:
        cells: of the first table, column to text: GOOD, ABSENT, a number, or a reason.
        nmse: "TYPE attention" to the largest NMSE over all places.
        commands: that its client sent, with counts.
        numbers: differences between its headers and our tables.
        graphs: case to "", or to the reason why it failed.
        skipped: cases that its dialect does not have.
        chosen: dialect that our client found by itself.
    """

    cells: dict[str, str] = field(default_factory=dict)
    nmse: dict[str, float] = field(default_factory=dict)
    commands: dict[str, int] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    graphs: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    chosen: str = ""

    @property
    def failures(self) -> list[str]:
        """Every cell and case that is not good, with its reason."""
        bad = [f"{k}: {v}" for k, v in self.cells.items() if v not in (GOOD, ABSENT)]
        bad += [
            f"NMSE of {k} is {v:.2g}, expected at most {BOUNDS[k.split()[0]]:g}"
            for k, v in self.nmse.items()
            if not v <= BOUNDS[k.split()[0]]
        ]
        bad += [f"numbers: {line}" for line in self.numbers]
        bad += [f"graph {k}: {v}" for k, v in self.graphs.items() if v]
        return bad

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class PurePython:
    """The encoder of models.py without a stock library; it knows the types that old versions know."""

    def __call__(self, ggml_type: str, rows: np.ndarray) -> np.ndarray:
        """Bytes of f32 rows, or arrays of floats for F32 and F16."""
        return gguf.quants.quantize(
            np.ascontiguousarray(rows, np.float32), gguf.GGMLQuantizationType[ggml_type]
        )


def models(folder: Path) -> dict[str, Path]:
    """A model file per weight type, written on first use; equal files every time."""
    found = {}
    for ggml_type in BOUNDS:
        path = folder / f"llama-{ggml_type}.gguf"
        if not path.exists():
            partial = path.with_suffix(".partial")
            write_model(partial, MODEL, ggml_type=ggml_type, quantize=PurePython())  # type: ignore[arg-type]
            partial.rename(path)
        found[ggml_type] = path
    return found


def nmse(got: np.ndarray, expected: np.ndarray) -> float:
    """Mean square error over mean square, in f64; infinite for another shape or a value that is not finite."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    return float(np.square(got - expected).mean() / np.square(expected).mean())


def our_server(name: str, devices: int = 1) -> Running:
    """`ggmlrpc serve` that speaks a dialect and writes a line per command."""
    command = [*own_program(), "-t", "2", "--dialect", name]
    if devices > 1:
        command += ["-d", ",".join(["CPU"] * devices)]
    environment = {**os.environ, "GGMLRPC_DEBUG": "1", "GGMLRPC_CPU_COMPILE": "now"}
    return Running("ggmlrpc", command, environment)


# --- its client, our server


class Session:
    """One run of a peer's client through servers of ours."""

    def __init__(self, built: Built, files: dict[str, Path], servers: dict[str, list[Running]]):
        self.built, self.files, self.servers = built, files, servers
        self._local: dict[tuple[str, bool], Run] = {}

    def run(self, ggml_type: str, flash: bool, place: str = "", forced: Sequence[int] = ()) -> Run:
        """The model locally, or with its layers at a place."""
        endpoints = [server.endpoint for server in self.servers.get(place, [])]
        return run_client(
            self.built,
            self.files[ggml_type],
            n_vocab=MODEL.n_vocab,
            prompt=PROMPT,
            n_tokens=N_TOKENS,
            endpoints=endpoints,
            n_layers=MODEL.n_layer // 2 if place == "half" else ALL_LAYERS,
            flash=flash,
            forced=forced,
        )

    def local(self, ggml_type: str, flash: bool) -> Run:
        """What the client computes by itself."""
        key = (ggml_type, flash)
        if key not in self._local:
            self._local[key] = self.run(*key)
        return self._local[key]

    def compare(self, ggml_type: str, flash: bool, place: str) -> tuple[Run, float, str]:
        """The remote run, the NMSE of its logits, and why it is not good, "" when it is."""
        local = self.local(ggml_type, flash)
        if not local.ok:
            return local, float("inf"), f"local run of {ggml_type}: {local.reason}"
        chosen = local.logits[len(PROMPT) - 1 :].argmax(axis=1).tolist()
        remote = self.run(ggml_type, flash, place, forced=chosen)
        if not remote.ok:
            log = [line for s in self.servers[place] for line in refusals(s.output())]
            told = f"; server: {log[-1]}" if log else ""
            return remote, float("inf"), f"{ggml_type}: {remote.reason}{told}"
        error = nmse(remote.logits, local.logits)
        reason = "" if error <= BOUNDS[ggml_type] else f"{ggml_type}: NMSE {error:.2g}"
        return remote, error, reason


def refusals(output: str) -> list[str]:
    """Lines of our server's log that say what it refused."""
    return [line for line in output.splitlines() if re.search(r": .+, expected |Error", line)]


def sent_commands(servers: Sequence[Running]) -> dict[str, int]:
    """How often each command came to our servers."""
    counted = Counter(
        name
        for s in servers
        for name in re.findall(r"^.*?> ([A-Z_]+) \d", s.output(), re.MULTILINE)
    )
    return dict(sorted(counted.items()))


def measure_client(built: Built, files: dict[str, Path], result: Result) -> None:
    """Fill the cells about a peer's client."""
    spoken = dialect(built.peer.dialect)
    several = "DEVICE_COUNT" in spoken.by_name
    with ExitStack() as stack:
        try:
            one, other = (stack.enter_context(our_server(spoken.name)) for _ in range(2))
            servers = {"all": [one], "half": [one], "two servers": [one, other]}
            if several:
                servers["two devices"] = [stack.enter_context(our_server(spoken.name, devices=2))]
        except ServerFailed as error:
            result.cells["connects"] = f"our server: {str(error).splitlines()[-1]}"
            return
        session = Session(built, files, servers)
        for place in PLACES:
            if place not in servers:
                result.cells[place] = ABSENT
                continue
            reasons = []
            for ggml_type, flash in _ways(place):
                run, error, reason = session.compare(ggml_type, flash, place)
                if reason:
                    reasons.append(f"{'flash ' if flash else ''}{reason}")
                key = f"{ggml_type} {'flash' if flash else 'plain'}"
                result.nmse[key] = max(result.nmse.get(key, 0.0), error)
                if (place, ggml_type, flash) == ("all", "F32", False):
                    for cell, stage in STAGE_CELLS.items():
                        reached = stage in run.stages
                        result.cells[cell] = GOOD if reached else reason
                if place == "two devices" and not reason and run.n_devices != 2:
                    reasons.append(f"the client saw {run.n_devices} devices")
            result.cells[place] = reasons[0] if reasons else GOOD
        result.commands = sent_commands([s for group in servers.values() for s in group])
    result.cells["by version"] = by_version(built, files)
    if "GRAPH_RECOMPUTE" not in spoken.by_name:
        result.cells["recomputes"] = ABSENT
    else:
        sent = result.commands.get("GRAPH_RECOMPUTE", 0)
        result.cells["recomputes"] = GOOD if sent else "the client never sent GRAPH_RECOMPUTE"


def by_version(built: Built, files: dict[str, Path]) -> str:
    """The cell about a server that was told the version alone and reads the numbering from the first graph."""
    version, _, date = built.peer.dialect.partition("@")
    if not date:
        return ABSENT
    with our_server(version) as server:
        session = Session(built, files, {"all": [server]})
        return session.compare("F32", False, "all")[2] or GOOD


def _ways(place: str) -> Iterator[tuple[str, bool]]:
    """Weight types and attention of a place: everything where all layers are remote, two of them elsewhere."""
    if place == "all":
        for ggml_type in BOUNDS:
            yield ggml_type, False
            yield ggml_type, True
    else:
        yield "F32", False
        yield "Q4_0", True


# --- our client, its server


def measure_server(built: Built, result: Result) -> None:
    """Fill the graphs that our client sent to a peer's server; one that ends is started again for the next case."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(stock_server(built))
        except ServerFailed as error:
            result.graphs["start of the server"] = " ".join(str(error).split())[-CUT:]
            return
        for sent in sent_cases():
            if not sent.fits(built.peer.date):
                continue
            if not server.alive():
                server = stack.enter_context(stock_server(built))
            reason = run_sent(sent, server, name=built.peer.dialect)
            if reason is None:
                result.skipped.append(sent.case.name)
            else:
                result.graphs[sent.case.name] = reason
        fresh = stack.enter_context(stock_server(built))
        result.cells["learned"], result.chosen = learned(built, fresh)


def learned(built: Built, server: Running) -> tuple[str, str]:
    """Connect without saying a dialect and send every case that the peer can run.

    Returns:
        The cell: good when the right dialect is among those that our client thinks possible, and every result was
        right or refused by us because they differ there. What it thought, and how many it refused, in words.
    """
    refused = right = 0
    try:
        with rpc_init(server.endpoint) as device:
            names = [one.name for one in device.connection.candidates]
            for sent in sent_cases():
                if not sent.fits(built.peer.date):
                    continue
                try:
                    run_remote_case(sent.case, device)
                    right += 1
                except (AmbiguousDialect, UnsupportedOp):
                    refused += 1
    except (GgmlRpcError, CaseFailed) as error:
        return f"{sent.case.name}: {error}" if right or refused else str(error), "none"
    told = f"{' or '.join(names)}: {right} graphs right, {refused} refused"
    if built.peer.dialect not in names:
        return f"took it for {' or '.join(names)}", told
    return GOOD, told


def stock_server(built: Built) -> Running:
    """The peer's own server, after its first graph.

    An old one ends at a graph that is larger than the first that it ever saw: the block comes first.
    """
    server = Running(
        built.peer.name, [str(built.server)], built.environment(), address=built.peer.address
    )
    if built.peer.date < GRAPHS_GROW:
        run_sent(Sent(BLOCK), server, name=built.peer.dialect)  # judged as one of the cases
    return server


def run_sent(sent: Sent, server: Running, *, name: str) -> str | None:
    """Run one case: "" when the result is right, None when the dialect lacks the op, else the reason."""
    wanted = expected_of(sent.case)
    try:
        with rpc_init(server.endpoint, dialect=name) as device:
            run_remote_case(sent.case, device, want=wanted)
    except UnsupportedOp:
        return None
    except CaseFailed as error:
        return str(error)
    except GgmlRpcError as error:
        lines = server.output().strip().splitlines()
        told = [line for line in lines if "ASSERT" in line or "rror" in line] or lines or [""]
        return f"{error}{'' if server.alive() else f'; the server ended: {told[-1][-CUT:]}'}"
    return ""


def measure(built: Built, folder: Path) -> Result:
    """Everything about one peer.

    Args:
        built: the peer.
        folder: for the model files.
    """
    result = Result()
    numbers = read_numbers(built.peer.tree(built.root))
    result.numbers = differences(numbers, dialect(built.peer.dialect))
    measure_client(built, models(folder), result)
    measure_server(built, result)
    return result
