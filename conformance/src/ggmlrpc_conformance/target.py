"""The server under test: an endpoint, and where the suite starts it, a process that can end and be started again."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ggmlrpc_conformance.faults import CaseFault, NoServer
from ggmlrpc_conformance.sockets import Socket, parse_endpoint

START_SECONDS = 120.0
"""How long a server that the suite starts may take to accept."""
STOP_SECONDS = 10.0
OUTPUT_TAIL = 4000
"""Bytes of a server's output that go into a result."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Target:
    """One server.

    Args:
        endpoint: `host:port` of a server that runs already; empty with `command`.
        command: how to start one, with `{port}` and, where it takes one, `{dialect}`.
        dialect: put in place of `{dialect}`.

    Attributes:
        label: for reports.
        losses: how often it ended by itself.
    """

    def __init__(self, endpoint: str = "", *, command: str = "", dialect: str = "") -> None:
        self.command = command
        self._dialect = dialect
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._read_from = 0
        self._address = parse_endpoint(endpoint) if endpoint else ("127.0.0.1", 0)
        self.label = endpoint or command.split()[0].rpartition("/")[2]
        self.losses = 0

    @property
    def owned(self) -> bool:
        """The suite starts and restarts it."""
        return bool(self.command)

    def ready(self) -> None:
        """Start it when it is the suite's to start, and does not run.

        Raises:
            NoServer: it does not start.
        """
        if self.owned and self._process is None:
            self.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        self.ready()
        return self._address

    @property
    def pid(self) -> int | None:
        """Of the process that the suite started."""
        return None if self._process is None else self._process.pid

    def sibling(self) -> Target:
        """Another server by the same command, not started."""
        return Target(command=self.command, dialect=self._dialect)

    def start(self) -> None:
        """Start the process and wait until it accepts.

        Raises:
            NoServer: it ended, or does not accept in time.
        """
        port = free_port()
        self._address = ("127.0.0.1", port)
        # `{port}` and `{dialect}` only: other braces of a command line are its own
        text = self.command.replace("{port}", str(port)).replace("{dialect}", self._dialect)
        arguments = shlex.split(text, posix=os.name != "nt")
        self._output = tempfile.TemporaryFile("a+b")  # noqa: SIM115  lives as long as the process
        self._read_from = 0
        try:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
            )
        except OSError as exc:
            raise NoServer("a server", f"{arguments[0]}: {exc.strerror}") from exc
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(self._address, timeout=1):
                return
            if self._process.poll() is not None:
                raise NoServer("a server", f"{self.exit_text()}: {self.output().strip()}")
            if time.monotonic() > deadline:
                raise NoServer("a server", f"nobody accepts after {START_SECONDS:g} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process that the suite started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def restart(self) -> None:
        """A fresh process."""
        self.stop()
        self.start()

    def ended(self) -> bool:
        """The process that the suite started has ended by itself; waits a moment for one that is about to."""
        if self._process is None:
            return False
        try:
            self._process.wait(0.05)
        except subprocess.TimeoutExpired:
            return False
        return True

    def exit_text(self) -> str:
        """How the process ended."""
        if self._process is None or (code := self._process.poll()) is None:
            return ""
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"signal {signal.Signals(-code).name}"
        return f"exit status {code}"

    def mark_output(self) -> None:
        """What the server says from here on belongs to the next case."""
        if self._output is not None:
            self._read_from = os.fstat(self._output.fileno()).st_size

    def output(self) -> str:
        """The end of what the server has said since the mark."""
        if self._output is None:
            return ""
        size = os.fstat(self._output.fileno()).st_size
        begin = max(self._read_from, size - OUTPUT_TAIL)
        data = _read_at(self._output, begin, size - begin)
        return data.decode("utf-8", errors="replace")

    def connect(self, timeout: float) -> Socket:
        """A new connection.

        Raises:
            NoServer: refused.
        """
        return Socket(self.address, timeout=timeout)

    def rss(self) -> int | None:
        """Resident bytes of a process that the suite started."""
        if self._process is None:
            return None
        import psutil

        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return None


def _read_at(file: IO[bytes], begin: int, size: int) -> bytes:
    """Bytes of a file that another process appends to."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, begin)
    file.seek(begin)
    return file.read(size)


@contextlib.contextmanager
def exclusive(label: str, *, needed: bool) -> Iterator[None]:
    """One worker at a time on a server that serves one client at a time."""
    if not needed:
        yield
        return
    name = "".join(ch if ch.isalnum() else "-" for ch in label)
    with (Path(tempfile.gettempdir()) / f"ggmlrpc-conformance-{name}.lock").open("a+b") as file:
        _lock(file)
        yield  # closing the file gives the lock back


def _lock(file: IO[bytes]) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def serves(target: Target, greet: bytes, *, reply: int, timeout: float) -> bool:
    """Whether a new connection is accepted and greeted; `greet` is a whole first message."""
    try:
        sock = target.connect(timeout)
    except CaseFault:
        return False
    try:
        sock.send(greet)
        sock.receive(8 + reply, what="an answer")
    except CaseFault:
        return False
    finally:
        sock.close()
    return True
