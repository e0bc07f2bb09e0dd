"""Start and stop servers for tests and benchmarks: the stock ggml-rpc-server and `ggmlrpc serve`.

A server listens on a free port of 127.0.0.1, its output goes to a file, and its memory can be asked for.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from upstream.build_stock import Stock

START_SECONDS = 120.0
"""How long a server may take to accept; the first start of ours may compile kernels."""


class ServerFailed(Exception):
    """A server did not start or ended by itself; carries its output."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_program() -> list[str]:
    """`ggmlrpc serve` of the running Python's environment."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("ggmlrpc", path=beside) or shutil.which("ggmlrpc")
    if program is None:
        raise ServerFailed(
            f"ggmlrpc: the command is not found, expected in {beside} [hint: pip install . ./plugins/cpu]"
        )
    return [program, "serve"]


class Running:
    """One server program on a free port; a context manager.

    Args:
        kind: for messages.
        command: the program and its options, without host and port.
        environment: of the process.
        address: options for the host; the port follows as the last word.
    """

    def __init__(
        self,
        kind: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        address: Sequence[str] = ("-H", "127.0.0.1", "-p"),
    ) -> None:
        self.kind = kind
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="server-")
        self._log = Path(self._folder.name, "log").open("w+")  # noqa: SIM115
        start = time.monotonic()
        self.process = subprocess.Popen(
            [*command, *address, str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            self._wait_until_accepting()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_accepting(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise ServerFailed(
                    f"{self.kind} server: exit status is {self.process.returncode}\n{self.output()}"
                )
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise ServerFailed(
                        f"{self.kind} server: not accepting after {START_SECONDS:.0f} s\n{self.output()}"
                    ) from None
                time.sleep(0.02)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def output(self) -> str:
        """Everything the server printed so far."""
        return Path(self._log.name).read_text(errors="replace")

    def rss(self) -> int:
        """Resident memory now, bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def cpu_seconds(self) -> float:
        """Processor time of all its threads since the start."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def peak_rss(self) -> int:
        """Most resident memory since the start, bytes; the present one where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        info = psutil.Process(self.process.pid).memory_info()
        return int(getattr(info, "peak_wset", info.rss))

    def stop(self) -> int:
        """Ask it to end as Ctrl-C does, and make it end after ten seconds; the exit status."""
        if self.alive():
            self.process.send_signal(signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not self._log.closed:
            self._log.close()
            self._folder.cleanup()
        return self.process.returncode


class Server(Running):
    """The stock server, or ours.

    Args:
        kind: "stock" or "ggmlrpc".
        stock: where the stock server is.
        threads: of its CPU device.
        devices: names for -d; empty: what the server takes by itself.
        wait_policy: of idle OpenMP threads; None leaves it to the system, as in daily use.
    """

    def __init__(
        self,
        kind: str,
        *,
        stock: Stock,
        threads: int = 2,
        devices: Sequence[str] = (),
        wait_policy: str | None = "passive",
    ) -> None:
        command = [stock.program("ggml-rpc-server")] if kind == "stock" else own_program()
        command += ["-t", str(threads)]
        if devices:
            command += ["-d", ",".join(devices)]
        environment = stock.environment() if kind == "stock" else dict(os.environ)
        if wait_policy is not None:
            environment["OMP_WAIT_POLICY"] = wait_policy
        # What is tested and measured is compiled code, not what stands in for it until it is ready.
        environment.setdefault("GGMLRPC_CPU_COMPILE", "now")
        super().__init__(kind, command, environment)
