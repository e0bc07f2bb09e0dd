"""Attack a server for a while, and count what it did not survive.

    python tests/hostile/run.py --seconds 600                       ours
    python tests/hostile/run.py --seconds 600 --server stock --stock FOLDER
    python tests/hostile/run.py --seed 1234 --sessions 1            one session again

Sessions of attack.py run one after the other. After each, a new client must be greeted within HELLO_SECONDS, else the
server hangs and is replaced, as it is when it has ended. Our server also holds another client whose memory must stay
as it is and must never come back in an answer (the stock server serves one client at a time). Exit status 1 when ours
ended, hung, leaked or lost anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `hostile` and `upstream`

import psutil
from hostile.attack import SECRET, Attacker, Leaked
from rich.console import Console
from upstream.build_stock import find
from upstream.servers import Running, Server, own_program

from ggmlrpc_core.client import rpc_init
from ggmlrpc_core.client.remote import RemoteBuffer, RemoteDevice
from ggmlrpc_core.errors import GgmlRpcError
from ggmlrpc_core.wire import dialects

HELLO_SECONDS = 5.0
VICTIM_BYTES = 1 << 20
GROWTH = 32 << 20
"""Bytes that a server may hold more at the end than after half of the sessions, when all kernels have been used: plans
and pages that the allocator keeps."""


@dataclass(slots=True)
class Tally:
    """What happened."""

    server: str
    dialect: str
    sessions: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    ended: int = 0
    hung: int = 0
    leaked: int = 0
    corrupted: int = 0
    memory: tuple[int, int] = (0, 0)
    seeds: dict[str, list[int]] = field(default_factory=dict)

    def bad(self, kind: str, seed: int) -> None:
        """Keep the seed of a session that a server did not survive."""
        self.seeds.setdefault(kind, []).append(seed)

    @property
    def grown(self) -> bool:
        """Whether memory was left behind."""
        return self.memory[1] - self.memory[0] > GROWTH


class Victim:
    """Another client, whose memory is full of the secret."""

    def __init__(self, endpoint: str) -> None:
        self._device: RemoteDevice = rpc_init(endpoint)
        self._data = SECRET * (VICTIM_BYTES // len(SECRET))
        self._buffer: RemoteBuffer = self._device.alloc(len(self._data))
        self._buffer.set(self._data)

    def intact(self) -> bool:
        """Whether the memory is as it was; frees and fills other memory on the way, for others to find."""
        with self._device.alloc(len(self._data)) as other:
            other.set(self._data)
        return self._buffer.get(len(self._data)) == self._data

    def close(self) -> None:
        """Leave."""
        self._device.close()


def start(args: argparse.Namespace) -> Running:
    """A fresh server."""
    if args.server == "stock":
        return Server("stock", stock=args.stock)
    environment = {**os.environ, "GGMLRPC_CPU_COMPILE": "now"}
    return Running("ggmlrpc", [*own_program(), "--dialect", args.dialect], environment)


def greets(server: Running) -> bool:
    """Whether a new client is answered in time."""
    with suppress(OSError, GgmlRpcError), rpc_init(server.endpoint, timeout=HELLO_SECONDS):
        return True
    return False


def attack(args: argparse.Namespace, tally: Tally, console: Console) -> None:
    """Run sessions until time or count is up."""
    dialect = dialects.dialect(args.dialect)
    server, victim = start(args), None
    samples: list[int] = []
    end, shown = time.monotonic() + args.seconds, time.monotonic()
    try:
        while time.monotonic() < end and tally.sessions < args.sessions:
            if victim is None and args.server != "stock":
                victim = Victim(server.endpoint)
            seed = args.seed + tally.sessions
            tally.sessions += 1
            rng = random.Random(seed)
            attacker = Attacker(
                partial(socket.create_connection, ("127.0.0.1", server.port), HELLO_SECONDS),
                dialect, rng, patience=args.patience,
            )  # fmt: skip
            try:
                outcome = attacker.run().outcome
                tally.outcomes[outcome] = tally.outcomes.get(outcome, 0) + 1
            except Leaked:
                tally.leaked += 1
                tally.bad("leaked", seed)
            alive, answers = server.alive(), False
            if alive:
                answers = greets(server)
                alive = server.alive()
            if not alive or not answers:
                kind = "hung" if alive else "ended"
                setattr(tally, kind, getattr(tally, kind) + 1)
                tally.bad(kind, seed)
                server.process.kill()
                server.stop()
                server, victim = start(args), None
            elif victim is not None and tally.sessions % 20 == 0 and not victim.intact():
                tally.corrupted += 1
                tally.bad("corrupted", seed)
            samples.append(server.rss() if server.alive() else 0)
            if time.monotonic() - shown > 20:
                shown = time.monotonic()
                console.print(line(tally), highlight=False)
        rss = psutil.Process(server.process.pid).memory_info().rss
        tally.memory = (samples[len(samples) // 2] if samples else rss, rss)
    finally:
        if victim is not None:
            with suppress(GgmlRpcError, OSError):
                victim.close()
        server.stop()


def line(tally: Tally) -> str:
    """One sentence."""
    outcomes = ", ".join(f"{n} {name}" for name, n in sorted(tally.outcomes.items()))
    return (
        f"{tally.server} {tally.dialect}: {tally.sessions} sessions ({outcomes}); "
        f"{tally.ended} ended the process, {tally.hung} hung it, {tally.leaked} leaked, "
        f"{tally.corrupted} corrupted another client"
    )


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=120.0, help="(default: %(default)s)")
    add("--sessions", type=int, default=1 << 62, help="at most")
    add("--seed", type=int, default=0, help="of the first session (default: %(default)s)")
    add("--dialect", default="7.0.0", help="(default: %(default)s)")
    add("--patience", type=float, default=0.3, help="seconds to wait for an answer")
    add("--server", choices=("ggmlrpc", "stock"), default="ggmlrpc")
    add("--stock", type=Path, default=os.environ.get("GGMLRPC_STOCK"), metavar="FOLDER")
    add("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    args = parser.parse_args()
    if args.server == "stock":
        args.stock = find(args.stock) if args.stock else None
        if args.stock is None:
            parser.error("--stock or GGMLRPC_STOCK must name a folder of build_stock.py")
    tally = Tally(args.server, args.dialect)
    attack(args, tally, Console(stderr=True))
    print(line(tally))
    before, after = (size / 1e6 for size in tally.memory)
    print(
        f"memory of the server: {before:.0f} MB after half of the sessions, {after:.0f} MB at the end"
    )
    for kind, seeds in tally.seeds.items():
        print(f"{kind}: seeds {', '.join(map(str, seeds[:20]))}")
    if args.json:
        args.json.write_text(json.dumps(asdict(tally), indent=1))
    survived = not (tally.ended or tally.hung or tally.leaked or tally.corrupted or tally.grown)
    return int(not survived and args.server == "ggmlrpc")


if __name__ == "__main__":
    sys.exit(main())
