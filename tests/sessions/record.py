"""Record the sessions of stock clients against stock servers: the files of the conformance suite.

    python tests/sessions/record.py STOCK OUT [--peers FOLDER] [--only NAME]

STOCK is a folder of tests/upstream/build_stock.py, its client does every session; clients of other versions, from a
folder of tests/interop/build_peers.py, do those that a client of any version can. Each goes to
OUT/DIALECT/NAME.ggrec.zip; what is there is written anew. Weights and prompts come from seeds, so that the same builds
give the same files, but for the session of a client that is killed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # makes `upstream` and `interop` importable

import gguf
import numpy as np
from interop.build_peers import Built, find_peer
from interop.peers import PEERS
from sessions import models
from sessions.scenarios import SCENARIOS, Scenario
from upstream.build_stock import Stock, find
from upstream.servers import Running

from ggmlrpc_core.endpoint import Endpoint
from ggmlrpc_core.ggml.types import TYPES
from ggmlrpc_core.recording.blobs import pack
from ggmlrpc_core.recording.capture import Options
from ggmlrpc_core.recording.proxy import Recorder, Route
from ggmlrpc_core.wire.dialects import dialect

MEMORY = 8 << 30
"""Device memory that clients are told, so that files do not depend on the machine."""
KILLED_AFTER = 20 << 20
"""Bytes of upload after which a client is killed."""
N_CTX = 64
TIMEOUT = 300.0


class Client:
    """Runs one session in a child process."""

    dialect: str
    name: str

    def start(
        self, scenario: Scenario, model: Path, endpoints: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        """A process that ends with the session."""
        raise NotImplementedError

    def server(self, arguments: Sequence[str], cache: Path) -> Running:
        """A server of the same build, with its own place for a cache."""
        raise NotImplementedError

    def can(self, scenario: Scenario) -> bool:
        """Whether this client has what the session needs."""
        raise NotImplementedError


class NewestClient(Client):
    """The stock client by worker.py."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self.dialect, self.name = "7.0.0", stock.version

    def start(
        self, scenario: Scenario, model: Path, endpoints: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        """See Client."""
        job = {
            "session": scenario.session,
            "model": str(model),
            "endpoints": list(endpoints),
            "flash": scenario.flash,
            "kv": int(gguf.GGMLQuantizationType[scenario.kv].value),
            "n_ctx": N_CTX if scenario.n_prompt < 32 else 2 * N_CTX,
            "prompt": prompt(scenario),
            "n_tokens": scenario.n_tokens,
            "libraries": str(self._stock.bin),
        }
        worker = Path(__file__).with_name("worker.py")
        return subprocess.Popen(
            [sys.executable, str(worker), json.dumps(job)],
            env=self._stock.environment() | {"OMP_WAIT_POLICY": "passive"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def server(self, arguments: Sequence[str], cache: Path) -> Running:
        """See Client."""
        program = self._stock.program("ggml-rpc-server")
        environment = self._stock.environment() | {"OMP_WAIT_POLICY": "passive"}
        environment["LLAMA_CACHE"] = str(cache)
        return Running("stock", [program, "-t", "1", *arguments], environment)

    def can(self, scenario: Scenario) -> bool:
        """It can do all."""
        return True


class OtherClient(Client):
    """A client of another version by interop/client.cpp."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self.dialect, self.name = built.peer.dialect, built.peer.name

    def start(
        self, scenario: Scenario, model: Path, endpoints: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        """See Client."""
        words = [
            model,
            "/dev/null",
            99,
            int(scenario.flash),
            ",".join(endpoints),
            1,
            scenario.n_tokens,
        ]
        words += [",".join(map(str, prompt(scenario))), "-"]
        return subprocess.Popen(
            [str(self._built.client), *map(str, words)],
            env=self._built.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def server(self, arguments: Sequence[str], cache: Path) -> Running:
        """See Client."""
        return Running(
            "peer",
            [str(self._built.server), *arguments],
            self._built.environment() | {"LLAMA_CACHE": str(cache)},
            address=self._built.peer.address,
        )

    def can(self, scenario: Scenario) -> bool:
        """Plain sessions that the version's own client does not refuse."""
        commands = dialect(self.dialect).by_name
        if scenario.devices > 1 and "DEVICE_COUNT" not in commands:
            return False
        if scenario.cache and "SET_TENSOR_HASH" not in commands:
            return False
        # Without INIT_TENSOR the padding of quantized rows cannot be told to the server, and a client refuses them.
        padded = TYPES[scenario.type].quantized and models.SHAPES[scenario.model].n_embd % 512
        return scenario.plain and not (padded and "INIT_TENSOR" not in commands)


def prompt(scenario: Scenario) -> list[int]:
    """Random tokens, the same for equal lengths."""
    n_vocab = models.SHAPES[scenario.model].n_vocab
    return np.random.default_rng(scenario.n_prompt).integers(0, n_vocab, scenario.n_prompt).tolist()


def record(client: Client, scenario: Scenario, model: Path, target: Path) -> None:
    """Record one session.

    Raises:
        RuntimeError: the client did not end well.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="session-")))
        arguments = ["-d", ",".join(["CPU"] * scenario.devices)] if scenario.devices > 1 else []
        if scenario.cache:
            arguments += ["-c"]
        servers = [
            stack.enter_context(client.server(arguments, folder)) for _ in range(scenario.servers)
        ]
        options = Options(
            dialect=dialect(client.dialect),
            weights=models.SEED,
            memory=MEMORY,
            tolerance={"nmse": scenario.nmse},
            privacy="synthetic",
            about={"client": client.name, "server": client.name, "session": scenario.name},
        )
        routes = [Route(Endpoint("127.0.0.1", 0), Endpoint.parse(s.endpoint)) for s in servers]
        recorder = stack.enter_context(Recorder(folder / "x", routes, options=options))
        for _ in range(2 if scenario.cache else 1):
            run(client, scenario, model, recorder)
        recorder.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        pack(folder / "x", target)


def run(client: Client, scenario: Scenario, model: Path, recorder: Recorder) -> None:
    """One client from start to end."""
    child = client.start(scenario, model, [str(e) for e in recorder.endpoints])
    try:
        if scenario.killed:
            deadline = time.monotonic() + TIMEOUT
            while (
                recorder.capture.uploaded < KILLED_AFTER
                and child.poll() is None
                and time.monotonic() < deadline
            ):
                time.sleep(0.001)
            if child.poll() is not None or recorder.capture.uploaded < KILLED_AFTER:
                raise RuntimeError(f"{client.name}: {scenario.name}: it ended by itself")
            child.kill()
            child.wait()
            return
        _, errors = child.communicate(timeout=TIMEOUT)
    finally:
        child.kill()
        child.communicate()
    if child.returncode != 0:
        lines = errors.decode(errors="replace").splitlines()[-12:]
        raise RuntimeError(
            f"{client.name}: {scenario.name}: status {child.returncode}\n" + "\n".join(lines)
        )


def clients(stock: Path, peers: Path | None) -> list[Client]:
    """Everybody who is built, the newest first."""
    newest = find(stock)
    if newest is None:
        raise RuntimeError(
            f"{stock}: no complete build there; run tests/upstream/build_stock.py {stock}"
        )
    found: list[Client] = [NewestClient(newest)]
    for one in PEERS if peers else ():
        built = find_peer(peers, one)
        if built is not None and one.dialect != "7.0.0":
            found.append(OtherClient(built))
    return found


def main() -> int:
    """Command line; 1 when a session could not be recorded."""
    parser = argparse.ArgumentParser(description="Record sessions of stock clients.")
    parser.add_argument("stock", type=Path, help="folder of tests/upstream/build_stock.py")
    parser.add_argument("out", type=Path, help="folder of the recordings")
    parser.add_argument("--peers", type=Path, help="folder of tests/interop/build_peers.py")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only sessions with this in DIALECT/NAME"
    )
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="models-") as folder:
        for client in clients(args.stock, args.peers):
            for scenario in SCENARIOS:
                place = f"{client.dialect}/{scenario.name}"
                if not client.can(scenario) or (
                    args.only and not any(o in place for o in args.only)
                ):
                    continue
                model = Path(folder, f"{scenario.model}-{scenario.type}.gguf")
                if not model.exists():
                    models.write(model, models.SHAPES[scenario.model], scenario.type)
                target = args.out / f"{place}.ggrec.zip"
                try:
                    record(client, scenario, model, target)
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    failed += 1
                    print(f"{place}: {error}", file=sys.stderr)
                else:
                    print(f"{place}: {target.stat().st_size} bytes", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
