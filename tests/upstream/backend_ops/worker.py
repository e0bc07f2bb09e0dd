"""Run cases one after the other through one server: a child process that is replaced when it dies or hangs."""

from __future__ import annotations

import contextlib
import queue
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from upstream.backend_ops.program import Case
from upstream.backend_ops.results import FAILED, NOT_JUDGED, PASSED, WRONG, Result
from upstream.backend_ops.wrong import WRONG_REFERENCES
from upstream.build_stock import Stock
from upstream.servers import Server

RETRIES = 3
START_SECONDS = 60.0
"""How long the child may take until its first case begins."""
ROUTINE = re.compile(r"\bconnection (closed|accepted)|\bAccepted client connection", re.IGNORECASE)
"""Lines of a server's log that come with every connection."""


@dataclass
class Parsed:
    """What the program said about the case that runs now."""

    number: int
    text: list[str] = field(default_factory=list)
    errors: list[tuple[str, float, float]] = field(default_factory=list)
    bits: list[tuple[str, bool]] = field(default_factory=list)
    verdict: str = ""
    seconds: float = 0.0
    ended: bool = False


def parse_line(line: str, now: Parsed | None) -> Parsed | None:
    """Read one line of `suite run` into the case that runs, or into a new one."""
    if line.startswith("@begin\t"):
        return Parsed(int(line.split("\t")[1]))
    if now is None:
        return None
    if not line.startswith("@"):
        if line.strip():
            now.text.append(line.strip())
        return now
    kind, *values = line.split("\t")
    if kind == "@error":
        now.errors.append((values[0], float(values[1]), float(values[2])))
    elif kind == "@bits":
        now.bits.append((values[0], values[1] == "1"))
    elif kind == "@end":
        now.verdict, now.seconds, now.ended = values[1], float(values[2]), True
    return now


def result_of(case: Case, parsed: Parsed) -> Result:
    """The result of a case that ended."""
    worst = max(parsed.errors, key=lambda e: e[1] / e[2] if e[2] else e[1], default=None)
    unequal = tuple(sorted({op for op, equal in parsed.bits if not equal}))
    good = parsed.verdict == ("passed" if case.judged else "computed")
    error = "" if good else " ".join(parsed.text) or "the suite gives no reason"
    if unequal:
        error = f"{error} a second run gave other bits: {', '.join(unequal)}".strip()
    return Result(
        number=case.number,
        op=case.op,
        params=case.params,
        status=status_of(case, good=good and not unequal),
        seconds=parsed.seconds,
        error=error,
        err=None if worst is None else worst[1],
        limit=None if worst is None else worst[2],
        repeated=len(parsed.bits),
        unequal=unequal,
    )


def status_of(case: Case, *, good: bool) -> str:
    """What a case counts as."""
    if not case.judged:
        return NOT_JUDGED
    if good:
        return PASSED
    return WRONG if case.name in WRONG_REFERENCES else FAILED


class Hung(Exception):
    """The child said nothing for too long."""


class Child:
    """One running `suite run`; its lines arrive through a queue so that waiting for one can end."""

    def __init__(self, command: Sequence[str | Path], stock: Stock) -> None:
        self.process = subprocess.Popen(
            command,
            env={**stock.environment(), "GGML_NO_BACKTRACE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def send(self, case: Case) -> None:
        """Ask for one more case; a child that died shows it at the next line."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{case.number}\n")
            self.process.stdin.flush()

    def line(self, seconds: float) -> str | None:
        """The next line, None after the last one.

        Raises:
            Hung: none came in time.
        """
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            raise Hung from None

    def stop(self) -> int:
        """End it; the exit status."""
        self.process.kill()
        status = self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return status


class Worker:
    """A server and the child that talks to it; a context manager.

    Args:
        program: from `build_program`.
        stock: where its libraries and the stock server are.
        kind: "ggmlrpc" or "stock".
        threads: of the server.
        devices: names for the server's -d; empty: what it takes by itself.
        client_threads: of the client's reference.
        twice: compute nodes again and compare the bits.
        timeout: seconds that one case may take.
    """

    def __init__(
        self,
        program: Path,
        stock: Stock,
        *,
        kind: str,
        threads: int = 2,
        devices: Sequence[str] = (),
        client_threads: int = 1,
        twice: bool = False,
        timeout: float = 900.0,
    ) -> None:
        self._program, self._stock, self._kind, self._threads = program, stock, kind, threads
        self._options = (str(client_threads), "twice" if twice else "once")
        self._devices = tuple(devices)
        self._timeout = timeout
        self._server: Server | None = None
        self._child: Child | None = None
        self._log_start = 0
        self.peak_rss = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_child()
        self._end_server()

    def run(self, case: Case, *, retries: int = RETRIES) -> Result:
        """The result of a case; a failing one runs `retries` times more, each in a new child."""
        result = self._one(case)
        if result.status != FAILED or not retries:
            return result
        self._end_child()
        passed = 0
        for _ in range(retries):
            passed += self._one(case).status == PASSED
            self._end_child()
        return replace(result, again=(passed, retries))

    def _one(self, case: Case) -> Result:
        child = self._ready()
        assert self._server is not None
        spent = self._server.cpu_seconds()
        child.send(case)
        now: Parsed | None = None
        early: list[str] = []
        try:
            while now is None or not now.ended:
                line = child.line(self._timeout if now else START_SECONDS)
                if line is None:
                    return self._died(case, now.text if now else early)
                now = parse_line(line, now)
                if now is None:
                    early.append(line)
        except Hung:
            self._end_child()
            self._end_server()  # it may still compute
            return self._failed(case, f"no result after {self._timeout:.0f} s")
        spent = self._server.cpu_seconds() - spent
        return replace(result_of(case, now), server_seconds=round(spent, 3))

    def _ready(self) -> Child:
        if self._server is None or not self._server.alive():
            self._end_child()
            self._end_server()
            self._server = Server(
                self._kind, stock=self._stock, threads=self._threads, devices=self._devices
            )
        if self._child is None:
            command = [self._program, "run", self._server.endpoint, *self._options]
            self._log_start = len(self._server.output())
            self._child = Child(command, self._stock)
        return self._child

    def _died(self, case: Case, text: list[str]) -> Result:
        """The client aborts when its server closes the connection."""
        parts = [f"the client ended with status {self._end_child()}", *text[-2:]]
        server = self._server
        if server is not None and not server.alive():
            parts.append(f"the server ended with status {server.process.returncode}")
        log = server.output()[self._log_start :].splitlines() if server else []
        log = [line.strip() for line in log if line.strip() and not ROUTINE.search(line)]
        if log:
            parts.append(f"the server says: {log[-1]}")
        return self._failed(case, "; ".join(parts))

    def _failed(self, case: Case, error: str) -> Result:
        status = FAILED if case.judged else NOT_JUDGED
        return Result(case.number, case.op, case.params, status, error=error)

    def _end_child(self) -> int:
        status = self._child.stop() if self._child else 0
        self._child = None
        return status

    def _end_server(self) -> None:
        if self._server is not None:
            if self._server.alive():
                self.peak_rss = max(self.peak_rss, self._server.peak_rss())
            self._server.stop()
        self._server = None
