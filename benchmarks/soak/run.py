"""Load a server for long, and see whether anything is left behind.

    python benchmarks/soak/run.py                              every scenario in full
    python benchmarks/soak/run.py --only mixed --seconds 3600  an hour of mixed load at 8 clients
    python benchmarks/soak/run.py --scale 0.01 --seconds 60    a glance
    python benchmarks/soak/run.py --server stock --stock FOLDER

Each scenario runs on a server of its own. After a warm-up of a tenth, and again at the end with all clients gone, its
resident memory, threads and file descriptors are counted. Exit status 1 when a result was wrong, the server ended, or
something is left.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))  # for `upstream`

import psutil
from rich.console import Console
from rich.table import Table
from scenarios import SCENARIOS, Scenario
from upstream.build_stock import find
from upstream.servers import Running, Server, own_program

from ggmlrpc_core.client import rpc_init

MEMORY_MAY_GROW = 16 << 20
"""Bytes of resident memory between warm-up and end that are the allocator's, not a leak."""
QUIET_SECONDS = 2.0
"""How long nothing must change until a server counts as idle."""


@dataclass(frozen=True, slots=True)
class State:
    """What a server process holds."""

    rss: int
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario."""

    scenario: str
    server: str
    rounds: int
    seconds: float
    clients: int
    wrong: tuple[str, ...]
    ended: bool
    before: State
    after: State

    @property
    def left(self) -> list[str]:
        """What the server holds that it did not hold before."""
        found = []
        if self.after.rss - self.before.rss > MEMORY_MAY_GROW:
            found.append(f"{(self.after.rss - self.before.rss) / 1e6:.0f} MB")
        if self.after.threads > self.before.threads:
            found.append(f"{self.after.threads - self.before.threads} threads")
        if self.after.descriptors > self.before.descriptors:
            found.append(f"{self.after.descriptors - self.before.descriptors} descriptors")
        return found


def state(server: Running) -> State:
    """Count, once the server has noticed that the clients are gone: when its threads stay as they are."""
    process = psutil.Process(server.process.pid)
    changed, threads = time.monotonic(), process.num_threads()
    while time.monotonic() - changed < QUIET_SECONDS:
        time.sleep(0.05)
        if process.num_threads() != threads:
            changed, threads = time.monotonic(), process.num_threads()
    return State(process.memory_info().rss, threads, process.num_fds())


class Load:
    """The clients of a scenario, a thread each, over a shared count of rounds."""

    def __init__(self, scenario: Scenario, endpoint: str) -> None:
        self._scenario = scenario
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._next = 0
        self.faults: list[str] = []

    def run(self, rounds: int, seconds: float, tick: Callable[[int], None]) -> int:
        """Do rounds until there are enough or time is up; how many."""
        first, until = self._next, time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._client, args=(first + rounds, until), daemon=True)
            for _ in range(self._scenario.clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(1.0)
                tick(self._next)
        return self._next - first

    def _take(self, end: int) -> int | None:
        with self._lock:
            if self._next >= end or self.faults:
                return None
            self._next += 1
            return self._next - 1

    def _client(self, end: int, until: float) -> None:
        scenario, endpoint = self._scenario, self._endpoint
        try:
            device = rpc_init(endpoint) if scenario.session else None
            try:
                while time.monotonic() < until and (number := self._take(end)) is not None:
                    scenario.round(endpoint, device, number)
            finally:
                if device is not None:
                    device.close()
        except Exception as exc:  # whatever it is, it goes into the report
            self.faults.append(f"{type(exc).__name__}: {exc}")


def soak(name: str, server: Running, *, rounds: int, seconds: float, console: Console) -> Outcome:
    """One scenario on a fresh server."""
    scenario = SCENARIOS[name]
    load = Load(scenario, server.endpoint)
    with console.status(name) as status:

        def tick(done: int) -> None:
            status.update(f"{name}: {done} rounds, {server.rss() / 1e6:.0f} MB")

        start = time.monotonic()
        load.run(max(rounds // 10, scenario.clients), seconds / 10, tick)
        before = state(server)
        done = load.run(rounds, seconds, tick)
        took = time.monotonic() - start
    ended = not server.alive()
    after = before if ended else state(server)
    return Outcome(
        name, server.kind, done, took, scenario.clients, tuple(load.faults), ended, before, after
    )


def print_table(outcomes: list[Outcome]) -> None:
    """What happened, a row a scenario."""
    table = Table(box=None)
    for heading in ("scenario", "server", "clients", "rounds", "seconds", "MB", "threads"):
        table.add_column(heading, justify="left" if heading in ("scenario", "server") else "right")
    table.add_column("files", justify="right")
    table.add_column("left or wrong")
    for o in outcomes:
        notes = [*o.wrong[:3], *(["the server ended"] if o.ended else []), *o.left]
        table.add_row(
            o.scenario, o.server, str(o.clients), str(o.rounds), f"{o.seconds:.0f}",
            f"{o.before.rss / 1e6:.0f} -> {o.after.rss / 1e6:.0f}",
            f"{o.before.threads} -> {o.after.threads}",
            f"{o.before.descriptors} -> {o.after.descriptors}", "; ".join(notes) or "nothing",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main() -> int:
    """Run the scenarios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", action="append", choices=SCENARIOS, help="this scenario; may be repeated")
    add("--scale", type=float, default=1.0, help="of the number of rounds (default: %(default)s)")
    add("--seconds", type=float, default=3600.0, help="most of each (default: %(default)s)")
    add("--server", choices=("ggmlrpc", "stock"), default="ggmlrpc")
    add("--stock", type=Path, default=os.environ.get("GGMLRPC_STOCK"), metavar="FOLDER")
    add("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    args = parser.parse_args()
    stock = find(args.stock) if args.stock else None
    if args.server == "stock" and stock is None:
        parser.error("--stock or GGMLRPC_STOCK must name a folder of build_stock.py")
    console, outcomes = Console(stderr=True), []
    for name in args.only or SCENARIOS:
        if args.server == "stock":
            assert stock is not None
            running: Running = Server("stock", stock=stock)
        else:
            environment = {**os.environ, "GGMLRPC_CPU_COMPILE": "now"}
            running = Running("ggmlrpc", own_program(), environment)
        with running:
            rounds = max(1, int(SCENARIOS[name].rounds * args.scale))
            outcomes.append(
                soak(name, running, rounds=rounds, seconds=args.seconds, console=console)
            )
    print_table(outcomes)
    if args.json:
        args.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1))
    return int(any(o.wrong or o.ended or o.left for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
